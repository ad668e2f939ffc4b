import { relative } from 'node:path';
import type { FailedTest, VitestReport } from './test-count.ts';

/** More failed files than these are no accident of a busy machine. */
const filesMax = 5;

/**
 * The files that run once more, one after another, after a run of many files: what fails only beside other files is then named as unstable.
 * None where a failure came from random inputs, which a second run would not repeat (docs/decisions/0059-files-that-run-again.md).
 * @param root the files are named relative to this folder
 */
export function filesToRunAgain(report: VitestReport | undefined, root: string): string[] {
  const files = report?.testResults ?? [];
  const failed = files.filter(({ status }) => status === 'failed');
  if (files.length === 1 || failed.length > filesMax) return [];
  const messages = failed.flatMap(({ message = '', assertionResults }) => [
    message,
    ...assertionResults.flatMap(({ failureMessages = [] }) => failureMessages),
  ]);
  return messages.some((text) => /\bseed\b/i.test(text)) ? [] : failed.map(({ name }) => relative(root, name));
}

/**
 * Of the failures of both runs: those that came twice, and those that did not.
 * @param second a failure that is new in it counts as one
 */
export function afterSecondRun(first: readonly FailedTest[], second: readonly FailedTest[]) {
  const again = new Set(second.map(({ test }) => test));
  return { failed: [...second], unstable: first.filter(({ test }) => !again.has(test)) };
}
