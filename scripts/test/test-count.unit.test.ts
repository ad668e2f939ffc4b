import { describe, expect, it } from 'vitest';
import { countTests, failedTestLines } from '../test-count.ts';

const root = '/repository';
const name = `${root}/libs/x/test/a.test.ts`;
const tests = (...statuses: string[]) =>
  statuses.map((status, index) => ({ status, ancestorTitles: ['a suite', 'inner'], title: `test ${index}` }));

describe('the count of tests', () => {
  it('sorts tests by outcome', () => {
    const report = {
      testResults: [{ name, status: 'failed', assertionResults: tests('passed', 'failed', 'pending', 'todo') }],
    };
    expect(countTests(report, true)).toEqual({ passed: 1, failed: 1, skipped: 2 });
  });

  it('counts a file that could not be loaded as a failed test', () => {
    const report = {
      testResults: [
        { name, status: 'failed', assertionResults: [] },
        { name, status: 'passed', assertionResults: tests('passed') },
      ],
    };
    expect(countTests(report, true)).toEqual({ passed: 1, failed: 1, skipped: 0 });
  });

  it('counts a run that failed without a failed test, or without a report, as one failed test', () => {
    const report = { testResults: [{ name, status: 'passed', assertionResults: tests('passed') }] };
    expect(countTests(report, true)).toEqual({ passed: 1, failed: 1, skipped: 0 });
    expect(countTests(undefined, true)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });
});

describe('the list of failed tests', () => {
  it('names each failed test by file, suites and title, and no other test', () => {
    const report = {
      testResults: [
        { name, status: 'failed', assertionResults: tests('passed', 'failed', 'skipped', 'failed') },
        { name: `${root}/libs/x/test/b.test.ts`, status: 'passed', assertionResults: tests('passed') },
      ],
    };
    expect(failedTestLines(report, true, root)).toEqual([
      'FAILED libs/x/test/a.test.ts > a suite > inner > test 1',
      'FAILED libs/x/test/a.test.ts > a suite > inner > test 3',
    ]);
  });

  it('names a file that failed outside its tests, with the first line of the reason', () => {
    const message = 'Error: Cannot find module\n    at somewhere';
    const report = { testResults: [{ name, status: 'failed', message, assertionResults: tests('passed') }] };
    expect(failedTestLines(report, true, root)).toEqual([
      'FAILED libs/x/test/a.test.ts (outside its tests): Error: Cannot find module',
    ]);
  });

  it('is one sentence when the run failed and no test did', () => {
    const report = { testResults: [{ name, status: 'passed', assertionResults: tests('passed') }] };
    const sentence = 'FAILED the test run itself; the reason is in the output above';
    expect(failedTestLines(report, true, root)).toEqual([sentence]);
    expect(failedTestLines(undefined, true, root)).toEqual([sentence]);
  });

  it('is empty when everything passed', () => {
    const report = { testResults: [{ name, status: 'passed', assertionResults: tests('passed') }] };
    expect(failedTestLines(report, false, root)).toEqual([]);
  });

  it('has as many lines as the count has failures', () => {
    const report = {
      testResults: [
        { name, status: 'failed', assertionResults: [] },
        { name, status: 'failed', assertionResults: tests('failed', 'failed') },
      ],
    };
    expect(failedTestLines(report, true, root)).toHaveLength(countTests(report, true).failed);
  });
});
