/** The part of vitest's JSON report that is counted here. */
export interface VitestReport {
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

/**
 * Tests by outcome. What failed without a test to its name counts as one failed test: a file that could not be loaded,
 * and a run that ended badly although no test of it did.
 */
export function countTests(report: VitestReport | undefined, runFailed: boolean) {
  const outcomes = (report?.testResults ?? []).flatMap(({ status, assertionResults }) => {
    const tests = assertionResults.map((test) => test.status);
    return status === 'failed' && !tests.includes('failed') ? [...tests, 'failed'] : tests;
  });
  const passed = outcomes.filter((status) => status === 'passed').length;
  const failed = outcomes.filter((status) => status === 'failed').length;
  return { passed, failed: failed === 0 && runFailed ? 1 : failed, skipped: outcomes.length - passed - failed };
}
