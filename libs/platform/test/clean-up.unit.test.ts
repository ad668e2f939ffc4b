import { deepEqual } from 'node:assert/strict';
import { cleanUp } from '../src/testing/clean-up.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const undone: string[] = [];
afterAll(() => deepEqual(undone, ['test', 'second of beforeAll', 'first of beforeAll', 'file']));
cleanUp(() => undone.push('file'));

describe('what helpers have set up is undone', () => {
  beforeAll(() => {
    cleanUp(() => undone.push('first of beforeAll'));
    cleanUp(() => undone.push('second of beforeAll'));
  });

  it('after the test, the suite or the file', () => {
    cleanUp(() => undone.push('test'));
    expect(undone).toEqual([]);
  });
});
