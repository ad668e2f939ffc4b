import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterSecondRun, filesToRunAgain } from './test-again.ts';
import { type VitestReport, countTests, failedTests, lineOf } from './test-count.ts';
import { untestedAnswers } from './untested-answers.ts';

/**
 * `npm test`: the checks, then all suites; the last lines name the failed tests and count all of them. Files with a failure run once more, alone.
 * After a run of all tests also the documented answers of the API that none of them got.
 */
const root = join(import.meta.dirname, '..');
const args = process.argv.slice(2);
const filters = args.filter((arg) => arg !== '--skip-check');

let isInterrupted = false;
const checked = args.includes('--skip-check') ? 0 : await run('scripts/check.ts', []);
const exercisedFile = writable('exercised-answers');
const unhandledFile = writable('unhandled-errors');
Object.assign(process.env, { EXERCISED_FILE: exercisedFile, UNHANDLED_ERRORS_FILE: unhandledFile });

const { isFailed, report } = await test(filters, 'test-report.json');
const first = failedTests(report, isFailed, root);
// An error outside all tests has no file that could run again.
const canRunAgain = !isInterrupted && readFileSync(unhandledFile, 'utf8') === '';
const again = canRunAgain ? filesToRunAgain(report, root) : [];
if (again.length > 0) console.log(`\nOnce more, one after another: ${again.join(', ')}`);
const project = filters.indexOf('--project');
const sameProject = project === -1 ? [] : filters.slice(project, project + 2);
const second =
  again.length === 0
    ? undefined
    : await test([...sameProject, '--no-file-parallelism', ...again], 'test-report-again.json');
const { failed, unstable } =
  second === undefined
    ? { failed: first, unstable: [] }
    : afterSecondRun(first, failedTests(second.report, second.isFailed, root));

const { passed, skipped } = countTests(report, isFailed);
if (checked !== 0) console.log('The checks failed; their findings are above the tests.');
for (const one of unstable) console.log(lineOf('UNSTABLE (failed beside other files, passed alone)', one));
for (const one of failed) console.log(lineOf('FAILED', one));
const isWhole = failed.length === 0 && filters.length === 0 && !process.env['FLEETWIRE_TEST_WITHOUT'];
const untested = isWhole ? untestedAnswers(readDocument(), readFileSync(exercisedFile, 'utf8')) : [];
for (const line of untested) console.log(line);
console.log(`Tests: ${passed + unstable.length} passed, ${failed.length} failed, ${skipped} skipped`);
process.exitCode = checked === 0 && failed.length === 0 && untested.length === 0 ? 0 : 1;

/** Runs vitest. */
async function test(
  vitestArgs: readonly string[],
  reportName: string,
): Promise<{ isFailed: boolean; report: VitestReport | undefined }> {
  const reportFile = join(root, '.fleetwire', reportName);
  rmSync(reportFile, { force: true });
  const reporters = ['default', 'json', 'scripts/unhandled-errors.ts'].map((name) => `--reporter=${name}`);
  const output = `--outputFile.json=${reportFile}`;
  const code = await run('node_modules/vitest/vitest.mjs', ['run', ...reporters, output, ...vitestArgs]);
  return { isFailed: code !== 0, report: readReport(reportFile) };
}

/** An empty file of the folder of the project's state. */
function writable(name: string): string {
  const file = join(root, '.fleetwire', name);
  writeFileSync(file, '');
  return file;
}

function readReport(file: string): VitestReport | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as VitestReport;
  } catch {
    console.log('vitest ended without a report.');
    return undefined;
  }
}

function readDocument() {
  return JSON.parse(readFileSync(join(root, 'docs/openapi.json'), 'utf8')) as Parameters<typeof untestedAnswers>[0];
}

/** Runs a file of the repository in the foreground. SIGINT and SIGTERM end the program first and then this process. */
async function run(program: string, programArgs: string[]): Promise<number> {
  const child = spawn(process.execPath, [program, ...programArgs], { cwd: root, stdio: 'inherit' });
  const forward = (signal: NodeJS.Signals) => {
    isInterrupted = true;
    // At a terminal, Ctrl-C reaches the program directly.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  process.on('SIGINT', forward).on('SIGTERM', forward);
  const [code] = (await once(child, 'exit')) as [number | null];
  process.off('SIGINT', forward).off('SIGTERM', forward);
  return code ?? 1;
}
