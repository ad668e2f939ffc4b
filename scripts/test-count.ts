import { relative } from 'node:path';

/** The part of vitest's JSON report that is read here. */
export interface VitestReport {
  testResults: {
    /** The file, absolute. */
    name: string;
    status: string;
    /** Why the file could not be loaded. */
    message?: string;
    assertionResults: { status: string; ancestorTitles: string[]; title: string; failureMessages?: string[] }[];
  }[];
}

/**
 * Tests by outcome. A failure outside a test counts as one failed test: a file that could not be loaded,
 * and a run that failed although none of its tests did.
 */
export function countTests(report: VitestReport | undefined, runFailed: boolean) {
  const outcomes = (report?.testResults ?? []).flatMap(({ assertionResults }) =>
    assertionResults.map(({ status }) => status),
  );
  const passed = outcomes.filter((status) => status === 'passed').length;
  const failed = outcomes.filter((status) => status === 'failed').length;
  return {
    passed,
    failed: failedTestLines(report, runFailed, '').length,
    skipped: outcomes.length - passed - failed,
  };
}

/**
 * One line for each failure that `countTests` counts: `FAILED file > suite > test`.
 * @param root file names are shown relative to this folder
 */
export function failedTestLines(report: VitestReport | undefined, runFailed: boolean, root: string): string[] {
  const lines = (report?.testResults ?? []).flatMap(({ name, status, message = '', assertionResults }) => {
    const file = relative(root, name);
    const failed = assertionResults.filter((test) => test.status === 'failed');
    if (status === 'failed' && failed.length === 0) {
      const reason = message.trim().split('\n')[0];
      return [`FAILED ${file} (outside its tests)${reason ? `: ${reason}` : ''}`];
    }
    return failed.map(({ ancestorTitles, title }) => `FAILED ${[file, ...ancestorTitles, title].join(' > ')}`);
  });
  return lines.length === 0 && runFailed ? ['FAILED the test run itself; the reason is in the output above'] : lines;
}
