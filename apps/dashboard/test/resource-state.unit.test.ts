import { describe, expect, test } from 'vitest';
import type { Failure } from '../src/api.ts';
import {
  type ResourceEvent,
  type ResourceState,
  nextCallMs,
  nextState,
  nothing,
  phaseOf,
} from '../src/resource-state.ts';

const failure = (status?: number, retryAfterMs?: number): Failure => ({
  title: '',
  detail: '',
  status,
  retryAfterMs,
  instance: undefined,
  problem: undefined,
});
const began = (at: number): ResourceEvent<string> => ({ type: 'began', at });
const answered = (at: number, data = 'data'): ResourceEvent<string> => ({ type: 'answered', at, data });
const failed = (at: number, status?: number): ResourceEvent<string> => ({
  type: 'failed',
  at,
  failure: failure(status),
});
const after = (...events: ResourceEvent<string>[]) => events.reduce<ResourceState<string>>(nextState, nothing);

describe('an area shows', () => {
  test.each<[string, ResourceEvent<string>[], number, string]>([
    ['nothing in the first 300 ms', [began(0)], 299, 'empty'],
    ['that it loads, after 300 ms', [began(0)], 300, 'loading'],
    ['the data', [began(0), answered(100)], 200, 'ready'],
    ['the data while it is asked for again', [began(0), answered(100), began(5_000)], 5_200, 'ready'],
    ['a line after 300 ms of that', [began(0), answered(100), began(5_000)], 5_300, 'refreshing'],
    ['an error where there is no data', [began(0), failed(100)], 200, 'error'],
    ['old data with its age after an error', [began(0), answered(100), began(200), failed(300)], 400, 'stale'],
    ['old data with its age when no answer comes', [began(0), answered(100)], 10_100, 'stale'],
    ['the data again after the error', [began(0), answered(100), failed(300), began(400), answered(500)], 600, 'ready'],
    ['the old data after a cancel', [began(0), answered(100), began(200), { type: 'cancelled' }], 5_000, 'ready'],
  ])('%s', (_what, events, now, phase) => {
    expect(phaseOf(after(...events), now, 10_000)).toBe(phase);
  });
});

test('the last good data stays through failures', () => {
  expect(after(began(0), answered(100, 'good'), failed(200), failed(300))).toMatchObject({
    data: 'good',
    receivedAt: 100,
    failures: 2,
  });
});

describe('the next call', () => {
  test('comes after the interval, and later after each failure', () => {
    expect(nextCallMs(after(answered(0)), 2_500)).toBe(2_500);
    expect(nextCallMs(after(failed(0)), 2_500)).toBe(2_500);
    expect(nextCallMs(after(failed(0), failed(1), failed(2)), 2_500)).toBe(8_000);
    expect(nextCallMs(after(...Array.from({ length: 9 }, () => failed(0))), 2_500)).toBe(30_000);
  });

  test('waits as long as the server says, and does not repeat what it refuses', () => {
    expect(nextCallMs(nextState(nothing, { type: 'failed', at: 0, failure: failure(503, 12_000) }), 2_500)).toBe(
      12_000,
    );
    expect(nextCallMs(after(failed(0, 422)), 2_500)).toBeUndefined();
    expect(nextCallMs(after(failed(0, 429)), 2_500)).toBe(2_500);
  });

  test('of a question that is asked once comes only after a failure', () => {
    expect(nextCallMs(after(answered(0)), undefined)).toBeUndefined();
    expect(nextCallMs(after(failed(0, 503)), undefined)).toBe(2_000);
  });
});
