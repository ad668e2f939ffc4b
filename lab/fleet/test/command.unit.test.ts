import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startSinkServer } from './sink-server.ts';

const main = new URL('../main.ts', import.meta.url).pathname;

async function simulator(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

async function sink() {
  const server = await startSinkServer();
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

async function csvFile(text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetwire-csv-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, 'pump-1.csv');
  await writeFile(path, text);
  return path;
}

describe('simulator', () => {
  it('exits with 0 and prints the totals as JSON when every reading was acked', async () => {
    const server = await sink();
    const { code, stdout } = await simulator(
      '--url',
      server.url,
      '--devices',
      '3',
      '--rate',
      'max',
      '--count',
      '50',
      '--batch',
      '20',
      '--json',
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ devices: 3, sent: 150, acked: 150, frames: 9, problems: [] });
    expect(server.stored.size).toBe(150);
  });

  it('replays a file as a device of its name with the same epoch every time, so that it is stored once', async () => {
    const server = await sink();
    const path = await csvFile('timestamp,value\n2015-07-28 11:56:00,248\n2015-07-28 12:06:00,178\n');
    for (const times of [1, 2]) {
      expect(await simulator('--url', server.url, '--csv', path)).toMatchObject({ code: 0 });
      expect(server.received).toBe(2 * times);
    }
    expect([...server.stored].every((identity) => identity.startsWith('pump-1 csv-'))).toBe(true);
    expect(server.stored.size).toBe(2);
  });

  it('replays a file at the requested speed', async () => {
    const path = await csvFile('timestamp,value\n2015-07-28 11:56:00,1\n2015-07-28 11:57:00,2\n');
    const { stdout } = await simulator('--url', (await sink()).url, '--csv', path, '--speed-up', '120', '--json');
    expect((JSON.parse(stdout) as { seconds: number }).seconds).toBeGreaterThan(0.5);
  });

  it('exits with 3 when it skipped lines, and names them', async () => {
    const path = await csvFile('timestamp,value\n2015-07-28 11:56:00,248\nnever,1\n');
    const { code, stderr } = await simulator('--url', (await sink()).url, '--csv', path);
    expect(code).toBe(3);
    expect(stderr).toContain(`${path}:3: skipped: "never" is not a time`);
  });

  it('exits with 1 when readings are not acked, and names them', async () => {
    const { code, stderr } = await simulator(
      '--url',
      'ws://127.0.0.1:9/ws',
      '--devices',
      '1',
      '--rate',
      '50',
      '--count',
      '5',
      '--settle-timeout',
      '100ms',
    );
    expect(code).toBe(1);
    expect(stderr).toContain('5 given up: 1-5');
    expect(stderr).toContain('ECONNREFUSED');
  });

  it('exits with 1 when a file is missing', async () => {
    expect(await simulator('--url', (await sink()).url, '--csv', '/nowhere.csv')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('/nowhere.csv'),
    });
  });

  it.for([
    [['--rate', 'often'], 'above 0'],
    [['--malformed', '2'], 'between 0 and 1'],
    [['--duration', 'long'], '30s'],
    [['--url', 'not a url'], 'Invalid URL'],
    [['--token', 't', '--keys', 'k'], 'cannot be used with'],
    [['--csv', 'a.csv', 'b.csv', '--device', 'd', '--epoch', 'e'], 'share sequence numbers'],
    [['--csv', 'a b.csv'], '--device'],
    [['extra'], 'too many arguments'],
  ] as const)('ends with 2 for %j', async ([args, reason]) => {
    expect(await simulator(...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(reason) });
  });
});
