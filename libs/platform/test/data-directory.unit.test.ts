import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDataDirectory } from '../src/servers/data-directory.ts';
import { processIdentity } from '../src/processes/process-identity.ts';

let folder: string;
const silent = () => {};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetwire-data-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('data directory', () => {
  it('remembers identity, password and ports for the next run', async () => {
    const first = await openDataDirectory(folder, false, silent);
    first.remember({ ports: { amqp: 12345 } });
    first.release();
    const second = await openDataDirectory(folder, false, silent);
    expect(second.remembered).toEqual(first.remembered);
    expect(second.remembered.ports.amqp).toBe(12345);
  });

  it('is refused, with the process id, while a running process holds it', async () => {
    await openDataDirectory(folder, false, silent);
    await expect(openDataDirectory(folder, false, silent)).rejects.toThrow(`in use by process ${process.pid}`);
  });

  it('is taken over from a process that has exited, even where another process has its id', async () => {
    writeFileSync(join(folder, 'owner.json'), JSON.stringify({ pid: process.pid, identity: 'an earlier start' }));
    await expect(openDataDirectory(folder, false, silent)).resolves.toBeDefined();
  });

  it('stops the servers that a killed run left behind', async () => {
    const server = spawn('sleep', ['600'], { stdio: 'ignore' });
    const exited = once(server, 'exit');
    const left = await openDataDirectory(folder, false, silent);
    left.remember({ processes: [{ name: 'epmd', pid: server.pid!, identity: processIdentity(server.pid!)! }] });
    left.release();

    const lines: string[] = [];
    const next = await openDataDirectory(folder, false, (line) => lines.push(line));
    expect((await exited)[1]).toBe('SIGTERM');
    expect(lines.join()).toContain(`stopped epmd (process ${server.pid})`);
    expect(next.remembered.processes).toEqual([]);
  });

  it('does not stop an unrelated process that has the id of a former server', async () => {
    const unrelated = spawn('sleep', ['600'], { stdio: 'ignore' });
    const left = await openDataDirectory(folder, false, silent);
    left.remember({ processes: [{ name: 'postgres', pid: unrelated.pid!, identity: 'an earlier start' }] });
    left.release();

    await openDataDirectory(folder, false, silent);
    expect(processIdentity(unrelated.pid!)).toBeDefined();
    unrelated.kill();
  });
});
