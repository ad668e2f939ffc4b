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
import { afterAll, describe, expect, inject, it } from 'vitest';

const program = fileURLToPath(new URL('../main.ts', import.meta.url));
const cleanUps: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanUp of cleanUps.toReversed()) await cleanUp();
});

interface Installation {
  readonly dataDir: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A data folder, a vhost and a database for launchers that are run one after the other. */
async function prepare(): Promise<Installation> {
  const dataDir = mkdtempSync(join(tmpdir(), 'fleetwire-launcher-'));
  cleanUps.push(() => rmSync(dataDir, { recursive: true, force: true }));
  const [AMQP_URL, DATABASE_URL] = [await freshVhost(), await freshDatabase()];
  return { dataDir, env: { ...process.env, AMQP_URL, DATABASE_URL, MANAGEMENT_URL: inject('managementUrl') } };
}

const readsBack = (launcher: Launcher) =>
  expect
    .poll(() => JSON.parse(launcher.runLineAfter('Read it back:')))
    .toMatchObject({ metrics: { temperature: 21.5 } });

// A launcher starts six programs and takes seconds of both cores: the tests use the same one as far as they can, in this order.
describe('npm start', async () => {
  const installation = await prepare();
  let launcher: Launcher;

  it('prints commands that send a reading and read it back', async () => {
    launcher = await start(installation, '--no-simulator');
    expect(JSON.parse(launcher.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
    await readsBack(launcher);
    // A busy machine may take longer to its first line.
    await expect.poll(launcher.watch).toMatch(/event: data_update\ndata: .*"phase":"history".*"temperature":21\.5/);
  });

  it('refuses a data folder that another launcher uses', async () => {
    const second = run(installation, '--no-simulator');
    expect(await second.exitCode).toBe(1);
    expect(second.output()).toMatch(
      /^The data folder .* is in use by process \d+: stop that one, or choose another folder with --data DIR\.\n$/,
    );
  });

  it('serves everything at one address, and restarts nginx when it is killed', async () => {
    const address = launcher.addressOf('Address');
    for (const row of ['Devices, HTTP', 'Query API', 'API documentation'])
      expect(launcher.addressOf(row)).toContain(`${address}/`);
    expect(launcher.addressOf('Devices, WebSocket')).toBe(`${address.replace('http', 'ws')}/ws`);
    expect(await (await fetch(address)).text()).toContain('<title>Fleetwire');
    const link = launcher.signInLink();
    expect(link.startsWith(`${address}/sign-in#code=`)).toBe(true);
    const signIn = async () =>
      fetch(`${address}/api/v1/session`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ code: link.split('#code=')[1] }),
      });
    const [first, second] = [await signIn(), await signIn()];
    expect([first.status, await first.json(), second.status]).toEqual([
      201,
      expect.objectContaining({ role: 'admin' }),
      401,
    ]);

    process.kill(launcher.childCalled('nginx'), 'SIGKILL');
    await appears(launcher, 'nginx is ready again after');
    expect(JSON.parse(launcher.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
  });

  it('restarts a service that was killed, and reports it', async () => {
    process.kill(launcher.childCalled('persistence-worker'), 'SIGKILL');
    await appears(launcher, 'persistence-worker exited unexpectedly (SIGKILL)');
    const health = /http:\S+(?=\n)/.exec(launcher.output().split('Worker health')[1]!)![0];
    await expect.poll(async () => (await fetch(health).catch(() => undefined))?.ok).toBe(true);
  });

  it('drains on Ctrl-C, leaves nothing running, and keeps the data for the next start', async () => {
    const children = launcher.children();
    expect(children).toHaveLength(4);
    expect(await launcher.interrupt()).toBe(0);
    expect(children.filter(processIdentity)).toEqual([]);

    launcher = await start(installation, '--no-simulator');
    await readsBack(launcher);
  });

  it('stops the services that a killed launcher left running before it starts its own', async () => {
    const children = launcher.children();
    await launcher.kill();
    expect(children.filter(processIdentity)).toHaveLength(4);

    launcher = await start(installation, '--no-simulator');
    expect(children.filter(processIdentity)).toEqual([]);
    expect(launcher.output()).toContain('which a killed run left behind');
  });

  it('refuses the readings of a device that an operator suspends', async () => {
    expect(launcher.send({ temperature: 1 })).toMatchObject({ accepted: 1 });
    const suspend = async () =>
      (
        await fetch(new URL('/api/v1/devices/my-device/status', launcher.addressOf('Query API')), {
          method: 'PATCH',
          headers: {
            authorization: `Bearer ${launcher.operatorToken()}`,
            'content-type': 'application/json',
            'if-match': '*',
          },
          body: '{"status":"suspended"}',
        })
      ).status;
    await expect.poll(suspend).toBe(200);
    await expect.poll(() => launcher.send({ temperature: 2 })).toMatchObject({ status: 403 });
    expect(await launcher.interrupt()).toBe(0);
  });
});

describe('npm start, twice at the same moment,', async () => {
  const [first, second] = [await prepare(), await prepare()];
  let watching: Launcher;
  let open: Launcher;

  it('moves to other ports', async () => {
    watching = run(first, '--no-simulator', '--watch');
    open = run({ ...second, env: { ...second.env, NGINX: '/nowhere/nginx' } }, '--open', '--no-simulator');
    await Promise.all([isRunning(watching), isRunning(open)]);
    for (const launcher of [watching, open])
      expect(JSON.parse(launcher.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
  });

  it('requires no tokens in open mode', () => {
    expect(open.output()).not.toContain('authorization');
    expect(watching.output()).toContain('authorization');
  });

  it('starts the services on their own ports where nginx cannot be used, and says so', async () => {
    expect(open.output()).toContain('without nginx, the services have no common address: NGINX names /nowhere/nginx');
    expect(await open.interrupt()).toBe(0);
  });

  it('restarts a service when one of its sources changes, with --watch, and leaves nothing running', async () => {
    const before = watching.childCalled('ingest-ws');
    utimesSync(
      fileURLToPath(new URL('../../../services/ingest-ws/src/main.ts', import.meta.url)),
      new Date(),
      new Date(),
    );
    await appears(watching, 'dev: restarted ingest-ws');
    expect(watching.childCalled('ingest-ws')).not.toBe(before);
    expect(JSON.parse(watching.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
    const children = watching.children();
    expect(children).toHaveLength(4);
    expect(await watching.interrupt()).toBe(0);
    expect([before, ...children].filter(processIdentity)).toEqual([]);
  });
});

describe('npm start with servers of its own', async () => {
  const { dataDir, env } = await prepare();
  const { AMQP_URL: _, DATABASE_URL: __, MANAGEMENT_URL: ___, ...noServers } = env;

  it.skipIf(inject('backingKind') !== 'native')(
    'restarts RabbitMQ and Postgres when they are killed, with everything that was acknowledged, and leaves nothing running',
    async () => {
      const launcher = await start({ dataDir, env: noServers }, '--no-simulator', '--backing', 'native');
      const everStarted = new Set(launcher.tree());
      expect(launcher.send({ temperature: 1 })).toMatchObject({ accepted: 1 });
      for (const server of ['rabbitmq', 'postgres']) process.kill(launcher.childCalled(server), 'SIGKILL');

      for (const server of ['rabbitmq', 'postgres']) {
        await appears(launcher, `${server} exited (SIGKILL); starting it again in 500 ms`);
        await appears(launcher, `${server} is ready again after`);
      }
      for (const pid of launcher.tree()) everStarted.add(pid);
      await expect.poll(() => launcher.send({ temperature: 2 }), { interval: 500 }).toMatchObject({ accepted: 1 });
      await expect
        // One that was not acknowledged may have been stored, too.
        .poll(() => [...new Set(launcher.history().map(({ metrics }) => metrics['temperature']))], { interval: 500 })
        .toEqual([2, 1]);

      process.kill(launcher.childCalled('rabbitmq'), 'SIGKILL');
      await appears(launcher, `rabbitmq exited (SIGKILL); starting it again in 1000 ms`);
      expect(await launcher.interrupt()).toBe(0);
      expect([...everStarted].filter(processIdentity)).toEqual([]);
    },
  );
});

interface Recorded {
  name: string;
  pid: number;
}

interface History {
  readonly data: readonly { readonly metrics: Record<string, unknown> }[];
}

type Launcher = ReturnType<typeof run>;

async function start(installation: Installation, ...args: string[]): Promise<Launcher> {
  const launcher = run(installation, ...args);
  await isRunning(launcher);
  return launcher;
}

async function isRunning(launcher: Launcher): Promise<void> {
  const ended = launcher.exitCode.then((code) => {
    throw new Error(`the launcher exited with ${code}:\n${launcher.output()}`);
  });
  await Promise.race([appears(launcher, 'Fleetwire is running.'), ended]);
}

/** A launcher starts six programs, with servers of its own nine: on a busy machine that takes more than a minute. */
async function appears(launcher: Launcher, text: string): Promise<void> {
  await expect.poll(launcher.output, { interval: 100, timeout: 180_000 }).toContain(text);
}

function run({ dataDir, env }: Installation, ...args: string[]) {
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
    addressOf: (row: string) => new RegExp(`^  ${row} +(\\S+)$`, 'm').exec(output)![1]!,
    /** Every process that it has started, and those that these have started. */
    tree: () => processTree(child.pid!).slice(1),
    runLineAfter: (heading: string) => runInShell(lineAfter(heading)),
    signInLink: () => lineAfter('Sign in to the dashboard as admin; the link works once, within 10 minutes:'),
    operatorToken: () => lineAfter('Operator token, for queues, the reconciliation report and dead letters:'),
    /** The printed command with other metrics. */
    send: (metrics: Record<string, number>): unknown =>
      JSON.parse(
        runInShell(lineAfter('Send a reading:').replace(/"metrics":{.*?}/, `"metrics":${JSON.stringify(metrics)}`)),
      ),
    /** The printed command with another path. */
    history: () => (JSON.parse(runInShell(lineAfter('Read it back:').replace('/latest', '/readings'))) as History).data,
    /** What the printed command prints within 3 seconds. */
    watch: (): string => runInShell(`${lineAfter('Watch all devices:')} --max-time 3 2>&1; true`),
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
