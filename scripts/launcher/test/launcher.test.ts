import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processIdentity } from '@fleetwire/platform/processes/process-identity';
import { processTree } from '@fleetwire/platform/processes/process-tree';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';

const program = fileURLToPath(new URL('../main.ts', import.meta.url));
const cleanUps: (() => unknown)[] = [];
let dataDir: string;
let env: NodeJS.ProcessEnv;

beforeEach(prepare);

/** A data folder, a vhost and a database for the launchers that are run next. */
async function prepare(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-launcher-'));
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  dataDir = folder;
  const [AMQP_URL, DATABASE_URL] = [await freshVhost(), await freshDatabase()];
  env = { ...process.env, AMQP_URL, DATABASE_URL, MANAGEMENT_URL: inject('managementUrl') };
}
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

describe('npm start', { timeout: 120_000 }, () => {
  it('prints commands that send a reading and read it back, drains on Ctrl-C, and keeps the data for the next start', async () => {
    const first = await start('--no-simulator');
    expect(JSON.parse(first.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
    const readsBack = (launcher: Launcher) =>
      expect
        .poll(() => JSON.parse(launcher.runLineAfter('Read it back:')), { timeout: 20_000 })
        .toMatchObject({ metrics: { temperature: 21.5 } });
    await readsBack(first);
    const children = first.children();
    expect(children).toHaveLength(3);
    expect(await first.interrupt()).toBe(0);
    expect(children.filter(processIdentity)).toEqual([]);

    const again = await start('--no-simulator');
    await readsBack(again);
    expect(await again.interrupt()).toBe(0);
  });

  it('requires no tokens in open mode', async () => {
    const launcher = await start('--open', '--no-simulator');
    expect(launcher.output()).not.toContain('authorization');
    expect(JSON.parse(launcher.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
    await launcher.interrupt();
  });

  it('restarts a service that was killed, and reports it', async () => {
    const launcher = await start('--no-simulator');
    process.kill(launcher.childCalled('persistence-worker'), 'SIGKILL');
    await expect.poll(launcher.output).toContain('persistence-worker exited unexpectedly (SIGKILL)');
    const health = /http:\S+(?=\n)/.exec(launcher.output().split('Worker health')[1]!)![0];
    await expect.poll(async () => (await fetch(health).catch(() => undefined))?.ok, { timeout: 20_000 }).toBe(true);
    expect(await launcher.interrupt()).toBe(0);
  });

  it.skipIf(inject('backingKind') !== 'native')(
    'restarts RabbitMQ and Postgres when they are killed, with everything that was acknowledged, and leaves nothing running',
    async () => {
      const { AMQP_URL: _, DATABASE_URL: __, MANAGEMENT_URL: ___, ...noServers } = env;
      env = noServers;
      const launcher = await start('--no-simulator', '--backing', 'native');
      const everStarted = new Set(launcher.tree());
      expect(launcher.send({ temperature: 1 })).toMatchObject({ accepted: 1 });
      for (const server of ['rabbitmq', 'postgres']) process.kill(launcher.childCalled(server), 'SIGKILL');

      for (const server of ['rabbitmq', 'postgres']) {
        await appears(launcher, `${server} exited (SIGKILL); starting it again in 500 ms`);
        await appears(launcher, `${server} is ready again after`);
      }
      for (const pid of launcher.tree()) everStarted.add(pid);
      await expect
        .poll(() => launcher.send({ temperature: 2 }), { timeout: 30_000, interval: 500 })
        .toMatchObject({ accepted: 1 });
      await expect
        .poll(() => launcher.history(), { timeout: 30_000, interval: 500 })
        .toMatchObject([{ metrics: { temperature: 2 } }, { metrics: { temperature: 1 } }]);

      process.kill(launcher.childCalled('rabbitmq'), 'SIGKILL');
      await appears(launcher, `rabbitmq exited (SIGKILL); starting it again in 1000 ms`);
      expect(await launcher.interrupt()).toBe(0);
      expect([...everStarted].filter(processIdentity)).toEqual([]);
    },
  );

  it('restarts a service when one of its sources changes, with --watch, and leaves nothing running', async () => {
    const launcher = await start('--no-simulator', '--watch');
    const before = launcher.childCalled('ingest-ws');
    utimesSync(
      fileURLToPath(new URL('../../../services/ingest-ws/src/main.ts', import.meta.url)),
      new Date(),
      new Date(),
    );
    await appears(launcher, 'dev: restarted ingest-ws');
    expect(launcher.childCalled('ingest-ws')).not.toBe(before);
    expect(JSON.parse(launcher.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
    const children = launcher.children();
    expect(children).toHaveLength(3);
    expect(await launcher.interrupt()).toBe(0);
    expect([before, ...children].filter(processIdentity)).toEqual([]);
  });

  it('stops the services that a killed launcher left running before it starts its own', async () => {
    const killed = await start('--no-simulator');
    const children = killed.children();
    await killed.kill();
    expect(children.filter(processIdentity)).toHaveLength(3);

    const next = await start('--no-simulator');
    expect(children.filter(processIdentity)).toEqual([]);
    expect(next.output()).toContain('which a killed run left behind');
    await next.interrupt();
  });

  it('moves to other ports when another installation is started at the same moment', async () => {
    const first = run('--no-simulator');
    await prepare();
    const second = run('--no-simulator');
    await Promise.all([isRunning(first), isRunning(second)]);
    for (const launcher of [first, second])
      expect(JSON.parse(launcher.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
    expect(await Promise.all([first.interrupt(), second.interrupt()])).toEqual([0, 0]);
  });

  it('refuses a data folder that another launcher uses', async () => {
    const running = await start('--no-simulator');
    const second = run('--no-simulator');
    expect(await second.exitCode).toBe(1);
    expect(second.output()).toMatch(
      /^The data folder .* is in use by process \d+: stop that one, or choose another folder with --data DIR\.\n$/,
    );
    await running.interrupt();
  });
});

interface Recorded {
  name: string;
  pid: number;
}

type Launcher = ReturnType<typeof run>;

async function start(...args: string[]): Promise<Launcher> {
  const launcher = run(...args);
  await isRunning(launcher);
  return launcher;
}

async function isRunning(launcher: Launcher): Promise<void> {
  const ended = launcher.exitCode.then((code) => {
    throw new Error(`the launcher exited with ${code}:\n${launcher.output()}`);
  });
  await Promise.race([appears(launcher, 'Fleetwire is running.'), ended]);
}

async function appears(launcher: Launcher, text: string): Promise<void> {
  await expect.poll(launcher.output, { timeout: 60_000, interval: 100 }).toContain(text);
}

function run(...args: string[]) {
  const child = spawn(process.execPath, [program, '--data', dataDir, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => (output += chunk));
  const exitCode = once(child, 'exit').then(([code]) => code as number | null);
  cleanUps.push(() => {
    child.kill();
    return exitCode;
  });
  const lineAfter = (heading: string) => output.split(`${heading}\n`)[1]!.split('\n')[0]!;
  const recorded = () =>
    (JSON.parse(readFileSync(join(dataDir, 'backing-services.json'), 'utf8')) as { processes: Recorded[] }).processes;
  return {
    output: () => output,
    exitCode,
    children: () => recorded().map(({ pid }) => pid),
    childCalled: (wanted: string) => recorded().find(({ name }) => name === wanted)!.pid,
    /** Every process that it has started, and those that these have started. */
    tree: () => processTree(child.pid!).slice(1),
    runLineAfter: (heading: string) => runInShell(lineAfter(heading)),
    /** The printed command with other metrics. */
    send: (metrics: Record<string, number>): unknown =>
      JSON.parse(
        runInShell(lineAfter('Send a reading:').replace(/"metrics":{.*?}/, `"metrics":${JSON.stringify(metrics)}`)),
      ),
    /** The printed command with another path. */
    history: (): unknown =>
      (JSON.parse(runInShell(lineAfter('Read it back:').replace('/latest', '/readings'))) as { data: unknown }).data,
    interrupt(): Promise<number | null> {
      child.kill('SIGINT');
      return exitCode;
    },
    async kill() {
      child.kill('SIGKILL');
      await exitCode;
    },
  };
}

function runInShell(line: string): string {
  return execFileSync('sh', ['-c', line], { encoding: 'utf8' });
}
