import { describe, expect, it } from 'vitest';
import {
  attemptOf,
  headersOfFreshStart,
  headersOfNextAttempt,
  isolatedHeader,
  stripDeathHeaders,
} from '../src/retry-headers.ts';

const fromTheBroker = {
  'x-death': [{ queue: 'telemetry.retry.10s', count: 1 }],
  'x-first-death-queue': 'telemetry.retry.10s',
  'x-first-death-reason': 'expired',
  'x-last-death-exchange': '',
  'x-delivery-count': 3,
  'x-acquired-count': 4,
};

describe('headers of a message on the retry ladder', () => {
  it('lose what the broker wrote and keep all others', () => {
    expect(stripDeathHeaders({ ...fromTheBroker, traceparent: '00-1', 'x-deathly': 1 })).toEqual({
      traceparent: '00-1',
    });
  });

  it('count our own attempts', () => {
    const first = headersOfNextAttempt(fromTheBroker);
    expect(attemptOf(first)).toBe(1);
    expect(attemptOf(headersOfNextAttempt({ ...first, ...fromTheBroker }))).toBe(2);
  });

  it.each([undefined, 'two', -1, 1.5, Number.NaN])('take an attempt of %s for none', (attempt) => {
    expect(attemptOf({ 'x-fleetwire-attempt': attempt })).toBe(0);
  });
});

it('begin anew without what happened on the way', () => {
  const worn = headersOfNextAttempt({ ...fromTheBroker, traceparent: '00-1', [isolatedHeader]: true });
  expect(headersOfFreshStart(worn)).toEqual({ traceparent: '00-1' });
});
