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
    failed: failedTests(report, runFailed, '').length,
    skipped: outcomes.length - passed - failed,
  };
}

/** A failure that `countTests` counts. */
export interface FailedTest {
  /** `file > suite > test`. */
  readonly test: string;
  /** The first line of the failure; none for a run that failed without a failed test. */
  readonly reason: string | undefined;
}

const reasonLengthMax = 500;

/** @param root file names are shown relative to this folder */
export function failedTests(report: VitestReport | undefined, runFailed: boolean, root: string): FailedTest[] {
  const found = (report?.testResults ?? []).flatMap(({ name, status, message, assertionResults }): FailedTest[] => {
    const file = relative(root, name);
    const failed = assertionResults.filter((test) => test.status === 'failed');
    if (status === 'failed' && failed.length === 0)
      return [{ test: `${file} (outside its tests)`, reason: firstLine(message) }];
    return failed.map(({ ancestorTitles, title, failureMessages }) => ({
      test: [file, ...ancestorTitles, title].join(' > '),
      reason: firstLine(failureMessages?.[0]),
    }));
  });
  if (found.length > 0 || !runFailed) return found;
  return [{ test: 'the test run itself; the reason is in the output above', reason: undefined }];
}

function firstLine(text = ''): string | undefined {
  return text.trim().split('\n')[0]!.slice(0, reasonLengthMax) || undefined;
}

/** `FAILED file > suite > test: reason`; the last lines of a run are often all that is seen of it. */
export function lineOf(outcome: string, { test, reason }: FailedTest): string {
  return `${outcome} ${test}${reason === undefined ? '' : `: ${reason}`}`;
}
