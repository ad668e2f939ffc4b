import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type VitestReport, countTests, failedTestLines } from './test-count.ts';
import { untestedAnswers } from './untested-answers.ts';

/**
 * `npm test`: the checks, then all suites; the last lines name the failed tests and count all of them. After a run of all tests also the
 * documented answers of the API that none of them got.
 */
const root = join(import.meta.dirname, '..');
const args = process.argv.slice(2);
const filters = args.filter((arg) => arg !== '--skip-check');
const reportFile = join(root, '.fleetwire/test-report.json');

const checked = args.includes('--skip-check') ? 0 : await run('scripts/check.ts', []);
rmSync(reportFile, { force: true });
const exercisedFile = join(root, '.fleetwire/exercised-answers');
writeFileSync(exercisedFile, '');
process.env['EXERCISED_FILE'] = exercisedFile;
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
const tested = await run('node_modules/vitest/vitest.mjs', ['run', ...reporters, ...filters]);

const report = readReport();
const { passed, failed, skipped } = countTests(report, tested !== 0);
if (checked !== 0) console.log('The checks failed; their findings are above the tests.');
for (const line of failedTestLines(report, tested !== 0, root)) console.log(line);
const isWhole = tested === 0 && filters.length === 0 && !process.env['FLEETWIRE_TEST_WITHOUT'];
const untested = isWhole ? untestedAnswers(readDocument(), readFileSync(exercisedFile, 'utf8')) : [];
for (const line of untested) console.log(line);
console.log(`Tests: ${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = checked === 0 && failed === 0 && untested.length === 0 ? 0 : 1;

function readReport(): VitestReport | undefined {
  try {
    return JSON.parse(readFileSync(reportFile, 'utf8')) as VitestReport;
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
    // At a terminal, Ctrl-C reaches the program directly.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  process.on('SIGINT', forward).on('SIGTERM', forward);
  const [code] = (await once(child, 'exit')) as [number | null];
  process.off('SIGINT', forward).off('SIGTERM', forward);
  return code ?? 1;
}
