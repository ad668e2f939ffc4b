import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';
import { processTree, untilGone } from '../src/processes/process-tree.ts';

/** Starts a test run on servers of its own, of the kind of this run. */
function startRun() {
  const kind = inject('backingKind');
  const { AMQP_URL: _, DATABASE_URL: __, ...env } = process.env;
  const args = ['run', '--project', 'integration', 'libs/platform/test/restart.test.ts'];
  const vitest = spawn(process.execPath, ['node_modules/vitest/vitest.mjs', ...args], {
    cwd: join(import.meta.dirname, '../../..'),
    env: { ...env, FLEETWIRE_TEST_BACKING: kind === 'given' ? 'auto' : kind },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  vitest.stdout.setEncoding('utf8').on('data', (chunk) => (output += chunk));
  return { vitest, pid: vitest.pid!, output: () => output, isNative: kind === 'native' };
}

type Run = ReturnType<typeof startRun>;

/** In containers, the servers are not processes of the run. */
const moments: [when: string, hasCome: (run: Run) => boolean][] = [
  [
    'while its servers start',
    ({ output, pid, isNative }) => output().includes('RUN') && (!isNative || processTree(pid).length > 6),
  ],
  ['while its tests run', ({ output }) => output().includes('are ready')],
];

it.each(moments)('a test run that is interrupted %s leaves nothing running', async (_, hasCome) => {
  const run = startRun();
  await expect.poll(() => hasCome(run), { interval: 20 }).toBe(true);
  const exited = once(run.vitest, 'exit');
  // The workers of vitest may exit a moment after it.
  const gone = untilGone(processTree(run.pid), 30_000);
  run.vitest.kill('SIGTERM');
  expect(await exited).toEqual([143, null]);
  await gone;
});
