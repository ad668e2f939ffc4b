import { describe, expect, it } from 'vitest';
import { bottleneckOf, timeToDrain } from '../src/queues/bottleneck.ts';
import type { QueueSample } from '../src/queues/queue-sample.ts';

function queue(changes: Partial<QueueSample> = {}): QueueSample {
  return {
    name: 'telemetry.persist',
    ready: 100,
    unacked: 20,
    consumers: 1,
    inRate: 10,
    outRate: 10,
    netRate: 0,
    bytes: 0,
    messagesMax: 1_000,
    bytesMax: null,
    ...changes,
  };
}
const worker = { subscribed: true, holding: false, writersBusy: 0, writersMax: 2, oldestArrivalAt: null };
const calm = { alarms: [], database: 'up', workers: [worker] } as const;
const verdict = (changes: Partial<QueueSample>, surroundings: Partial<Parameters<typeof bottleneckOf>[1]> = {}) =>
  bottleneckOf(queue(changes), { ...calm, ...surroundings }).verdict;

describe('the bottleneck', () => {
  it.each([
    ['none', 'the queue is empty', { ready: 0, unacked: 0, consumers: 0 }, {}],
    ['none', 'the queue shrinks', { inRate: 10, outRate: 20 }, {}],
    ['none', 'all messages are delivered and unacknowledged', { ready: 0 }, {}],
    ['none', 'it is a delay queue', { name: 'telemetry.retry.10s', consumers: 0 }, {}],
    ['consumers', 'there are no consumers', { consumers: 0 }, {}],
    ['consumers', 'the queue grows though transaction slots are free', { inRate: 20 }, {}],
    ['postgres', 'a worker pauses', {}, { workers: [worker, { ...worker, holding: true }] }],
    ['postgres', 'Postgres does not answer', {}, { workers: [], database: 'down' }],
    ['postgres', 'every transaction slot is in use', { inRate: 20 }, { workers: [{ ...worker, writersBusy: 2 }] }],
    ['broker', 'the broker raised an alarm', { consumers: 0 }, { alarms: ['rabbit@one is short of memory'] }],
  ] as const)('is %s when %s', (expected, _why, changes, surroundings) => {
    expect(verdict(changes, surroundings)).toBe(expected);
  });
});

describe('the time to drain', () => {
  it('is the number of messages over the rate at which the queue shrinks', () => {
    expect(timeToDrain(queue({ inRate: 10, outRate: 50 })).seconds).toBe(3);
    expect(timeToDrain(queue({ inRate: null, outRate: null, netRate: -4, unacked: null })).seconds).toBe(25);
    expect(timeToDrain(queue({ ready: 0, unacked: 0 })).seconds).toBe(0);
  });

  it.each([
    ['grows by 5.0 messages/s', { inRate: 15 }],
    ['no message leaves the queue', { inRate: 0, outRate: 0 }],
    ['neither grows nor shrinks', {}],
    ['rates are not known yet', { inRate: null, outRate: null, netRate: null }],
  ])('is unknown: %s', (reason, changes) => {
    expect(timeToDrain(queue(changes))).toEqual({ seconds: null, reason });
  });
});
