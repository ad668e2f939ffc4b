import { describe, expect, it } from 'vitest';
import { countTests } from '../test-count.ts';

const tests = (...statuses: string[]) => statuses.map((status) => ({ status }));

describe('the count of tests', () => {
  it('sorts tests by outcome', () => {
    const report = {
      testResults: [{ status: 'failed', assertionResults: tests('passed', 'failed', 'pending', 'todo') }],
    };
    expect(countTests(report, true)).toEqual({ passed: 1, failed: 1, skipped: 2 });
  });

  it('counts a file that could not be loaded as a failed test', () => {
    const report = {
      testResults: [
        { status: 'failed', assertionResults: [] },
        { status: 'passed', assertionResults: tests('passed') },
      ],
    };
    expect(countTests(report, true)).toEqual({ passed: 1, failed: 1, skipped: 0 });
  });

  it('counts a run that failed without a failed test, or without a report, as one failed test', () => {
    const report = { testResults: [{ status: 'passed', assertionResults: tests('passed') }] };
    expect(countTests(report, true)).toEqual({ passed: 1, failed: 1, skipped: 0 });
    expect(countTests(undefined, true)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });
});
