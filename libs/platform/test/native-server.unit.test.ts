import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { processIdentity } from '../src/processes/process-identity.ts';
import { type DataDirectory, openDataDirectory } from '../src/servers/data-directory.ts';
import { NativeServer } from '../src/servers/native-server.ts';
import { startServer, untilReady } from '../src/servers/server-process.ts';
import { cleanUp } from '../src/testing/clean-up.ts';

const startDeadlineMs = 10_000;
const restart = { restartsMax: 2, steadyAfterMs: 60_000, backoff: { baseMs: 1, capMs: 2 } };

it('gives a server up when it has exited after each of its restarts', async () => {
  const { server, directory, reports } = await supervised(['exec sleep 60', 'exit 3', 'exit 4']);
  process.kill(server.pid(), 'SIGKILL');
  expect(await server.running.failed).toMatch(
    /^rabbitmq exited \(exit code 4\) while .*, after 2 restarts; its log is \S+$/,
  );
  expect(reports.map((sentence) => sentence.replace(/; its log is \S+$/, ''))).toEqual([
    'rabbitmq exited (SIGKILL); starting it again in 1 ms',
    'rabbitmq exited (exit code 3) while it was starting; starting it again in 2 ms',
  ]);
  expect(directory.remembered.processes).toEqual([]);
});

it('leaves no server running that is stopped during a restart', async () => {
  const { server, directory, reports } = await supervised(['exec sleep 60', 'exec sleep 60']);
  const first = server.pid();
  process.kill(first, 'SIGKILL');
  await expect.poll(() => directory.remembered.processes.map(({ pid }) => pid)).not.toContain(first);
  await expect.poll(() => directory.remembered.processes).toHaveLength(1);
  const second = server.pid();
  await server.running.stop();
  expect(processIdentity(second)).toBeUndefined();
  expect(directory.remembered.processes).toEqual([]);
  expect(reports).toHaveLength(1);
});

/** A server that runs these shell commands, one after each start; only the first becomes ready. */
async function supervised(commands: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-server-'));
  cleanUp(() => rmSync(folder, { recursive: true, force: true }));
  const directory: DataDirectory = await openDataDirectory(folder, true, () => {});
  const logFile = join(folder, 'server.log');
  const reports: string[] = [];
  let starts = 0;
  const launch = {
    spawn: () =>
      startServer({
        name: 'rabbitmq',
        command: 'sh',
        args: ['-c', commands[starts++]!],
        env: { PATH: process.env['PATH'] },
        cwd: folder,
        logFile,
        disposable: true,
      }),
    ready: (process: ReturnType<typeof startServer>) =>
      untilReady(process, logFile, startDeadlineMs, () => starts === 1),
    logFile,
  };
  const running = await NativeServer.start(directory, launch, {
    restart,
    report: (sentence) => void reports.push(sentence),
  });
  cleanUp(() => running.stop());
  return { server: { running, pid: () => directory.remembered.processes[0]!.pid }, directory, reports };
}
