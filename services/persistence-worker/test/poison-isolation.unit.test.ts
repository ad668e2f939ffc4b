import { expect, it } from 'vitest';
import { attemptKey, isolationStep } from '../src/poison-isolation.ts';

it.each([
  { unfinished: 0, isIsolated: false, step: 'retry-alone' },
  { unfinished: 1, isIsolated: false, step: 'retry-alone' },
  { unfinished: 2, isIsolated: false, step: 'split' },
  { unfinished: 3, isIsolated: false, step: 'dead-letter-unparsed' },
  { unfinished: 0, isIsolated: true, step: 'retry-alone' },
  { unfinished: 1, isIsolated: true, step: 'split' },
  { unfinished: 2, isIsolated: true, step: 'dead-letter-unparsed' },
])(
  'after $unfinished unfinished attempts at a message (a half of a poison message: $isIsolated) the step is $step',
  ({ step, ...history }) => {
    expect(isolationStep(history)).toBe(step);
  },
);

it.each([undefined, ''])(
  'records attempts at messages with the id %o by their content, so that they do not share a record',
  (messageId) => {
    const keys = ['one', 'other'].map((content) => attemptKey({ messageId, content: Buffer.from(content) }));
    expect(keys[0]).not.toBe(keys[1]);
    expect(keys.every((key) => /^[0-9a-f]{64}$/.test(key))).toBe(true);
  },
);
