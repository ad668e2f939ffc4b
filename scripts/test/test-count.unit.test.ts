import { describe, expect, it } from 'vitest';
import { countTests, failedTests, lineOf } from '../test-count.ts';

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
    expect(failedTests(report, true, root)).toEqual([
      { test: 'libs/x/test/a.test.ts > a suite > inner > test 1', reason: undefined },
      { test: 'libs/x/test/a.test.ts > a suite > inner > test 3', reason: undefined },
    ]);
  });

  it('has the first line of the reason, cut where it is long', () => {
    const failureMessages = [`Error: queues are not empty ${'x'.repeat(1_000)}\n    at somewhere`];
    const assertionResults = [{ status: 'failed', ancestorTitles: [], title: 'a test', failureMessages }];
    const [failed] = failedTests({ testResults: [{ name, status: 'failed', assertionResults }] }, true, root);
    const line = lineOf('FAILED', failed!);
    expect(line).toMatch(/^FAILED libs\/x\/test\/a\.test\.ts > a test: Error: queues are not empty x+$/);
    expect(line.length).toBeLessThan(560);
  });

  it('names a file that failed outside its tests, with the first line of the reason', () => {
    const message = 'Error: Cannot find module\n    at somewhere';
    const report = { testResults: [{ name, status: 'failed', message, assertionResults: tests('passed') }] };
    expect(failedTests(report, true, root)).toEqual([
      { test: 'libs/x/test/a.test.ts (outside its tests)', reason: 'Error: Cannot find module' },
    ]);
  });

  it('is one sentence when the run failed and no test did', () => {
    const report = { testResults: [{ name, status: 'passed', assertionResults: tests('passed') }] };
    const sentence = 'FAILED the test run itself; the reason is in the output above';
    const lines = (one: typeof report | undefined) =>
      failedTests(one, true, root).map((failed) => lineOf('FAILED', failed));
    expect(lines(report)).toEqual([sentence]);
    expect(lines(undefined)).toEqual([sentence]);
  });

  it('is empty when everything passed', () => {
    const report = { testResults: [{ name, status: 'passed', assertionResults: tests('passed') }] };
    expect(failedTests(report, false, root)).toEqual([]);
  });

  it('has as many lines as the count has failures', () => {
    const report = {
      testResults: [
        { name, status: 'failed', assertionResults: [] },
        { name, status: 'failed', assertionResults: tests('failed', 'failed') },
      ],
    };
    expect(failedTests(report, true, root)).toHaveLength(countTests(report, true).failed);
  });
});
