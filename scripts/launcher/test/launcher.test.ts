import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processIdentity } from '@fleetwire/platform/servers/process-identity';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';

const program = fileURLToPath(new URL('../main.ts', import.meta.url));
const cleanUps: (() => unknown)[] = [];
let dataDir: string;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'fleetwire-launcher-'));
  cleanUps.push(() => rmSync(dataDir, { recursive: true, force: true }));
  const [AMQP_URL, DATABASE_URL] = [await freshVhost(), await freshDatabase()];
  env = { ...process.env, AMQP_URL, DATABASE_URL, MANAGEMENT_URL: inject('managementUrl') };
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

describe('npm start', { timeout: 120_000 }, () => {
  it('prints lines that send a reading and read it back, drains on Ctrl-C, and has the data when started again', async () => {
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

  it('asks for no tokens in open mode', async () => {
    const launcher = await start('--open', '--no-simulator');
    expect(launcher.output()).not.toContain('authorization');
    expect(JSON.parse(launcher.runLineAfter('Send a reading:'))).toMatchObject({ accepted: 1 });
    await launcher.interrupt();
  });

  it('starts a service again that dies, and says so', async () => {
    const launcher = await start('--no-simulator');
    process.kill(launcher.childCalled('persistence-worker'), 'SIGKILL');
    await expect.poll(launcher.output).toContain('persistence-worker ended by itself (SIGKILL)');
    const health = /http:\S+(?=\n)/.exec(launcher.output().split('Worker health')[1]!)![0];
    await expect.poll(async () => (await fetch(health).catch(() => undefined))?.ok, { timeout: 20_000 }).toBe(true);
    expect(await launcher.interrupt()).toBe(0);
  });

  it('stops, when started again, what it left behind when it was killed', async () => {
    const killed = await start('--no-simulator');
    const children = killed.children();
    await killed.kill();
    expect(children.filter(processIdentity)).toHaveLength(3);

    const next = await start('--no-simulator');
    expect(children.filter(processIdentity)).toEqual([]);
    expect(next.output()).toContain('which a killed launcher had left behind');
    await next.interrupt();
  });

  it('says in one sentence that the folder is in use', async () => {
    const running = await start('--no-simulator');
    const second = run('--no-simulator');
    expect(await second.exitCode).toBe(1);
    expect(second.output()).toMatch(
      /^Fleetwire already runs on .*; stop it, or choose another folder with --data DIR\.\n$/,
    );
    await running.interrupt();
  });
});

type Launcher = ReturnType<typeof run>;

async function start(...args: string[]): Promise<Launcher> {
  const launcher = run(...args);
  const ended = launcher.exitCode.then((code) => {
    throw new Error(`the launcher ended with ${code}:\n${launcher.output()}`);
  });
  await Promise.race([appears(launcher, 'Fleetwire runs.'), ended]);
  return launcher;
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
  const recorded = () =>
    JSON.parse(readFileSync(join(dataDir, 'processes.json'), 'utf8')) as { name: string; pid: number }[];
  return {
    output: () => output,
    exitCode,
    children: () => recorded().flatMap(({ name, pid }) => (name === 'launcher' ? [] : [pid])),
    childCalled: (wanted: string) => recorded().find(({ name }) => name === wanted)!.pid,
    runLineAfter(heading: string): string {
      const line = output.split(`${heading}\n`)[1]!.split('\n')[0]!;
      return execFileSync('sh', ['-c', line], { encoding: 'utf8' });
    },
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
