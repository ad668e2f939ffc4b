import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot, runInForeground } from './foreground.ts';
import { type VitestReport, countTests, failedTestLines } from './test-count.ts';

/** `npm test`: the checks, then all suites; the last lines name the failed tests and count all of them. */
const args = process.argv.slice(2);
const filters = args.filter((arg) => arg !== '--skip-check');
const reportFile = join(repositoryRoot, '.fleetwire/test-report.json');

const checked = args.includes('--skip-check') ? 0 : await runInForeground('scripts/check.ts', []);
rmSync(reportFile, { force: true });
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
const tested = await runInForeground('node_modules/vitest/vitest.mjs', ['run', ...reporters, ...filters]);

const report = readReport();
const { passed, failed, skipped } = countTests(report, tested !== 0);
if (checked !== 0) console.log('The checks failed; their findings are above the tests.');
for (const line of failedTestLines(report, tested !== 0, repositoryRoot)) console.log(line);
console.log(`Tests: ${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = checked === 0 && failed === 0 ? 0 : 1;

function readReport(): VitestReport | undefined {
  try {
    return JSON.parse(readFileSync(reportFile, 'utf8')) as VitestReport;
  } catch {
    console.log('vitest ended without a report.');
    return undefined;
  }
}
