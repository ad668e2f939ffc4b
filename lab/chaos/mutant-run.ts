import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { breachMark } from './report.ts';
import { type MutantCopy, copyWithMutant, repository } from './mutant-copy.ts';
import type { Mutant } from './mutants.ts';

export interface MutantOptions {
  readonly seed: number;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Undefined `by`: not caught. */
interface Catch {
  readonly by: string | undefined;
  /** Until the failure was reported, or until the search ended. */
  readonly seconds: number;
}

export interface MutantResult {
  readonly mutant: string;
  readonly tests: Catch;
  readonly chaos: Catch;
}

/** Bound of the chaos runs for one mutant. A run that has started is finished, or ended at its first breach. */
const chaosMsMax = 120_000;
const testsMsMax = 300_000;
const roundMinutes = 0.25;
const chaosLoad = ['--rate', '500', '--devices', '40'];
/** The first signal ends the faults of a chaos run, each further one the run. */
const signalIntervalMs = 1_000;
/** Starting servers and stopping them take most of it. */
const stopGraceMs = 120_000;

/** Runs the tests and then the chaos, in a copy of the repository for each mutant, one after the other. */
export async function runMutants(chosen: readonly Mutant[], options: MutantOptions): Promise<MutantResult[]> {
  const results: MutantResult[] = [];
  for (const mutant of chosen) {
    if (options.signal.aborted) break;
    await using copy = await copyWithMutant(mutant);
    options.say(`${mutant.name}: ${mutant.what}`);
    const chaos = await chaosOn(copy, mutant, options);
    options.say(`  chaos: ${describe(chaos)}`);
    const tests = await testsOn(copy, mutant, options);
    options.say(`  tests: ${describe(tests)}`);
    results.push({ mutant: mutant.name, tests, chaos });
  }
  return results;
}

export function mutantTable(results: readonly MutantResult[]): string {
  const rows = results.map(({ mutant, tests, chaos }) => `| ${mutant} | ${describe(tests)} | ${describe(chaos)} |`);
  return ['| mutant | tests | chaos |', '| --- | --- | --- |', ...rows].join('\n');
}

function describe({ by, seconds }: Catch): string {
  return by === undefined ? `NOT CAUGHT in ${seconds} s` : `caught after ${seconds} s: ${by}`;
}

/** Short runs with one seed after the other, until one reports a breach or the time is up. */
async function chaosOn({ folder }: MutantCopy, mutant: Mutant, options: MutantOptions): Promise<Catch> {
  const startedAt = performance.now();
  const seconds = () => Math.round((performance.now() - startedAt) / 1_000);
  for (let seed = options.seed; seconds() * 1_000 < chaosMsMax && !options.signal.aborted; seed += 1) {
    const log = await logFileOf(mutant, `chaos-${seed}`);
    const args = ['lab/chaos/main.ts', '--faults', mutant.faults.join(','), '--minutes', String(roundMinutes)];
    let caught: Catch | undefined;
    const code = await run([...args, '--seed', String(seed), ...chaosLoad], {
      folder,
      log,
      timeoutMs: chaosMsMax * 2,
      options,
      isDone: (line) => {
        if (!line.startsWith(breachMark) || !line.includes(mutant.breach ?? '')) return false;
        caught ??= { by: line.slice(breachMark.length), seconds: seconds() };
        return true;
      },
    });
    if (caught !== undefined) return caught;
    if (code === 0) continue;
    // A run that failed for another reason says nothing about the mutant.
    options.say(
      `  chaos with seed ${seed} ended with code ${code} and no breach of the mutant; its output is in ${log}`,
    );
  }
  return { by: undefined, seconds: seconds() };
}

async function testsOn({ folder }: MutantCopy, mutant: Mutant, options: MutantOptions): Promise<Catch> {
  const startedAt = performance.now();
  const report = join(folder, 'test-report.json');
  const log = await logFileOf(mutant, 'tests');
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--bail=1',
    '--reporter=json',
    `--outputFile=${report}`,
    ...mutant.tests,
  ];
  const code = await run(args, { folder, log, timeoutMs: testsMsMax, options });
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  if (code === 0) return { by: undefined, seconds };
  const failed = await failedTests(report);
  if (failed.length === 0)
    options.say(`  the tests ended with code ${code} and no failed test; their output is in ${log}`);
  const more = failed.length > 1 ? ` and ${failed.length - 1} more` : '';
  return { by: failed[0] === undefined ? undefined : `${failed[0]}${more}`, seconds };
}

interface TestReport {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly title: string }[];
  }[];
}

async function failedTests(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '{"testResults":[]}');
  const { testResults } = JSON.parse(text) as TestReport;
  return testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'failed')
    .map(({ title }) => title);
}

async function logFileOf({ name }: Mutant, what: string): Promise<string> {
  const folder = join(repository, '.fleetwire/mutants/logs');
  await mkdir(folder, { recursive: true });
  return join(folder, `${name}-${what}.log`);
}

/**
 * Runs Node in the copy. It is ended in order at the timeout or the signal, or when `isDone` says so, and after a grace period by force. What it
 * has started in its process group and not stopped is ended with it.
 * @returns its exit code, null after a signal
 */
async function run(
  args: readonly string[],
  {
    folder,
    log,
    timeoutMs,
    options,
    isDone = () => false,
  }: {
    folder: string;
    log: string;
    timeoutMs: number;
    options: MutantOptions;
    /** Called with each line of its output. */
    isDone?: (line: string) => boolean;
  },
): Promise<number | null> {
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Ctrl-C in a terminal reaches this process only.
    detached: true,
  });
  const output = createWriteStream(log);
  child.stdout.pipe(output, { end: false });
  child.stderr.pipe(output, { end: false });
  const done = new AbortController();
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (isDone(line)) done.abort();
  });
  const ended = AbortSignal.any([options.signal, done.signal, AbortSignal.timeout(timeoutMs)]);
  let [repeat, force]: NodeJS.Timeout[] = [];
  const stop = () => {
    child.kill('SIGTERM');
    repeat = setInterval(() => child.kill('SIGTERM'), signalIntervalMs);
    force = setTimeout(() => {
      options.say(
        `  it was killed ${stopGraceMs / 1_000} s after it was asked to end; servers that it started may be left`,
      );
      child.kill('SIGKILL');
    }, stopGraceMs);
  };
  if (ended.aborted) stop();
  ended.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code));
    });
  } finally {
    ended.removeEventListener('abort', stop);
    clearInterval(repeat);
    clearTimeout(force);
    endGroup(child.pid);
    await new Promise<void>((resolve) => output.end(resolve));
  }
}

/** SIGKILL for what is left of a process group. */
function endGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL');
  } catch {
    // Nothing is left.
  }
}
