import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';
import { processTree, untilGone } from '../src/processes/process-tree.ts';

/** Starts a test run of one file on servers of its own, of the kind of this run. */
function startRun(file: string) {
  const kind = inject('backingKind');
  const { AMQP_URL: _, DATABASE_URL: __, ...env } = process.env;
  const args = ['run', '--project', 'integration', file];
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
const moments: [when: string, file: string, hasCome: (run: Run) => boolean][] = [
  [
    'while its servers start',
    'libs/platform/test/restart.test.ts',
    ({ output, pid, isNative }) => output().includes('RUN') && (!isNative || processTree(pid).length > 6),
  ],
  ['while its tests run', 'libs/platform/test/restart.test.ts', ({ output }) => output().includes('are ready')],
];

// Where the servers are containers, nginx is one too, and no process of the run.
if (inject('backingKind') === 'native')
  moments.push([
    'while a test runs nginx',
    'lab/e2e/nginx-faults.test.ts',
    ({ output, pid }) => output().includes('are ready') && processTree(pid).some((one) => programOf(one) === 'nginx'),
  ]);

function programOf(pid: number): string {
  return execFileSync('sh', ['-c', `ps -o comm= -p ${pid} || true`], { encoding: 'utf8' }).trim();
}

it.each(moments)('a test run that is interrupted %s leaves nothing running', async (_, file, hasCome) => {
  const run = startRun(file);
  await expect.poll(() => hasCome(run), { interval: 20 }).toBe(true);
  const exited = once(run.vitest, 'exit');
  // The workers of vitest may exit a moment after it.
  const gone = untilGone(processTree(run.pid), 30_000);
  run.vitest.kill('SIGTERM');
  expect(await exited).toEqual([143, null]);
  await gone;
});
