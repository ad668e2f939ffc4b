import { describe, expect, it } from 'vitest';
import {
  attemptOf,
  senderHeaders,
  headersOfNextAttempt,
  isolatedHeader,
  withoutBrokerHeaders,
} from '../src/retry-headers.ts';

const fromTheBroker = {
  'x-death': [{ queue: 'telemetry.retry.10s', count: 1 }],
  'x-first-death-queue': 'telemetry.retry.10s',
  'x-first-death-reason': 'expired',
  'x-last-death-exchange': '',
  'x-delivery-count': 3,
  'x-acquired-count': 4,
};

describe('headers of a retried message', () => {
  it('lose the headers of the broker and keep all others', () => {
    expect(withoutBrokerHeaders({ ...fromTheBroker, traceparent: '00-1', 'x-deathly': 1 })).toEqual({
      traceparent: '00-1',
    });
  });

  it('count the attempts', () => {
    const first = headersOfNextAttempt(fromTheBroker);
    expect(attemptOf(first)).toBe(1);
    expect(attemptOf(headersOfNextAttempt({ ...first, ...fromTheBroker }))).toBe(2);
  });

  it.each([undefined, 'two', -1, 1.5, Number.NaN])('treat an attempt of %s as none', (attempt) => {
    expect(attemptOf({ 'x-fleetwire-attempt': attempt })).toBe(0);
  });
});

it('headers of a fresh start keep the sender and drop the history', () => {
  const worn = headersOfNextAttempt({ ...fromTheBroker, traceparent: '00-1', [isolatedHeader]: true });
  expect(senderHeaders(worn)).toEqual({ traceparent: '00-1' });
});
