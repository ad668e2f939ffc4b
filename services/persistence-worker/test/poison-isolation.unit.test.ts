import { expect, it } from 'vitest';
import { isolationStep } from '../src/poison-isolation.ts';

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
