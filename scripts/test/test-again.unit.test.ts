import { describe, expect, it } from 'vitest';
import { afterSecondRun, filesToRunAgain } from '../test-again.ts';

const root = '/repository';
const file = (name: string, ...failureMessages: string[]) => ({
  name: `${root}/libs/${name}.test.ts`,
  status: failureMessages.length > 0 ? 'failed' : 'passed',
  assertionResults: [
    { status: failureMessages.length > 0 ? 'failed' : 'passed', ancestorTitles: [], title: 'a test', failureMessages },
  ],
});

describe('the files that run again', () => {
  it('are those with a failure, among others', () => {
    const report = { testResults: [file('a'), file('b', 'Error: too late'), file('c')] };
    expect(filesToRunAgain(report, root)).toEqual(['libs/b.test.ts']);
  });

  it('are those that failed outside their tests', () => {
    const outside = { name: `${root}/libs/b.test.ts`, status: 'failed', message: 'no server', assertionResults: [] };
    expect(filesToRunAgain({ testResults: [file('a'), outside] }, root)).toEqual(['libs/b.test.ts']);
  });

  it('are none after a run of one file, without a failure, without a report, and after many failures', () => {
    expect(filesToRunAgain({ testResults: [file('a', 'Error')] }, root)).toEqual([]);
    expect(filesToRunAgain({ testResults: [file('a'), file('b')] }, root)).toEqual([]);
    expect(filesToRunAgain(undefined, root)).toEqual([]);
    const many = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => file(name, 'Error'));
    expect(filesToRunAgain({ testResults: many }, root)).toEqual([]);
  });

  it('are none where random inputs found a failure', () => {
    const random = 'Error: Property failed after 12 tests\n{ seed: -1819918769, path: "11:0" }';
    expect(filesToRunAgain({ testResults: [file('a', random), file('b', 'Error'), file('c')] }, root)).toEqual([]);
  });
});

describe('after the second run', () => {
  it('a failure stands that came again or is new, and each other one is named as unstable', () => {
    const failure = (test: string, reason: string) => ({ test, reason });
    const first = [failure('a > one', 'late'), failure('a > two', 'late')];
    const second = [failure('a > two', 'later'), failure('a > three', 'new')];
    expect(afterSecondRun(first, second)).toEqual({ failed: second, unstable: [first[0]] });
  });
});
