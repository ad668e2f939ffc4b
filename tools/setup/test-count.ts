/** The part of vitest's JSON report that is counted here. */
export interface VitestReport {
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

/** Tests by outcome. A file that failed before it could name its tests counts as one failed test, and so does a missing report. */
export function countTests(report: VitestReport | undefined): { passed: number; failed: number; skipped: number } {
  if (!report) return { passed: 0, failed: 1, skipped: 0 };
  const outcomes = report.testResults.flatMap(({ status, assertionResults }) => {
    const tests = assertionResults.map((test) => test.status);
    return status === 'failed' && !tests.includes('failed') ? [...tests, 'failed'] : tests;
  });
  const passed = outcomes.filter((status) => status === 'passed').length;
  const failed = outcomes.filter((status) => status === 'failed').length;
  return { passed, failed, skipped: outcomes.length - passed - failed };
}
