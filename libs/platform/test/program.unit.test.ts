import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { processIdentity } from '../src/processes/process-identity.ts';
import { lastLines, readTail, startProgram } from '../src/processes/program.ts';
import { untilGone } from '../src/processes/process-tree.ts';
import { eventually } from '../src/testing/eventually.ts';

const folder = mkdtempSync(join(tmpdir(), 'fleetwire-program-'));
const logFile = join(folder, 'program.log');
afterAll(() => rmSync(folder, { recursive: true }));

function startScript(script: string) {
  const options = { name: 'script', command: process.execPath, args: ['--eval', script], env: process.env };
  return startProgram({ ...options, logFile, killAtExit: true });
}

async function untilLogged(text: string): Promise<void> {
  await eventually(() => expect(readFileSync(logFile, 'utf8')).toContain(text));
}

describe('a program', () => {
  it('appends its output to its log', async () => {
    expect(await startScript('console.log("out"); console.error("err")').exited).toEqual({ code: 0, signal: null });
    expect(lastLines(logFile, 2)).toBe('    out\n    err');
    expect(readTail(logFile, 4)).toBe('err\n');
  });

  it('is stopped by the next signal when it has not exited by the deadline, or when the stop is forced', async () => {
    const stubborn = 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("ready", process.pid)';
    const slow = startScript(stubborn);
    await untilLogged(`ready ${slow.pid}`);
    expect(await slow.stop(['SIGTERM', 'SIGKILL'], 50)).toEqual({ code: null, signal: 'SIGKILL' });
    const forced = startScript(stubborn);
    await untilLogged(`ready ${forced.pid}`);
    expect(await forced.stop(['SIGTERM', 'SIGKILL'], 60_000, AbortSignal.timeout(50))).toMatchObject({
      signal: 'SIGKILL',
    });
  });

  it('cannot be started where its command does not exist', () => {
    const missing = { name: 'missing', command: join(folder, 'none'), args: [], env: {}, logFile };
    expect(() => startProgram(missing)).toThrow('cannot be executed');
  });

  it('is killed when the process that started it exits', async () => {
    const program = fileURLToPath(new URL('../src/processes/program.ts', import.meta.url));
    const starter = `
      const { startProgram } = await import(${JSON.stringify(program)});
      const args = ['--eval', 'setInterval(() => {}, 1000)'];
      const options = { name: 'left', command: process.execPath, args, env: {}, logFile: ${JSON.stringify(logFile)} };
      console.log(startProgram({ ...options, killAtExit: true }).pid);
      process.exit();`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', starter], { encoding: 'utf8' });
    const pid = Number(stdout);
    await untilGone([pid], 10_000);
    expect(processIdentity(pid)).toBeUndefined();
  });
});
