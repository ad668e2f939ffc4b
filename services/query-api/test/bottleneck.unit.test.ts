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
    ['none', 'nothing waits', { ready: 0, unacked: 0, consumers: 0 }, {}],
    ['none', 'it shrinks', { inRate: 10, outRate: 20 }, {}],
    ['none', 'all is in the hands of consumers', { ready: 0 }, {}],
    ['none', 'messages rest on purpose', { name: 'telemetry.retry.10s', consumers: 0 }, {}],
    ['consumers', 'nobody consumes', { consumers: 0 }, {}],
    ['consumers', 'it grows though writers are free', { inRate: 20 }, {}],
    ['postgres', 'a worker holds', {}, { workers: [worker, { ...worker, holding: true }] }],
    ['postgres', 'Postgres does not answer', {}, { workers: [], database: 'down' }],
    ['postgres', 'every writer waits for it', { inRate: 20 }, { workers: [{ ...worker, writersBusy: 2 }] }],
    ['broker', 'it has an alarm', { consumers: 0 }, { alarms: ['rabbit@one is short of memory'] }],
  ] as const)('is %s when %s', (expected, _why, changes, surroundings) => {
    expect(verdict(changes, surroundings)).toBe(expected);
  });
});

describe('the time to drain', () => {
  it('is what waits over how fast it shrinks', () => {
    expect(timeToDrain(queue({ inRate: 10, outRate: 50 })).seconds).toBe(3);
    expect(timeToDrain(queue({ inRate: null, outRate: null, netRate: -4, unacked: null })).seconds).toBe(25);
    expect(timeToDrain(queue({ ready: 0, unacked: 0 })).seconds).toBe(0);
  });

  it.each([
    ['it grows by 5.0 messages/s', { inRate: 15 }],
    ['nothing leaves it', { inRate: 0, outRate: 0 }],
    ['it neither grows nor shrinks', {}],
    ['its rates are not known yet', { inRate: null, outRate: null, netRate: null }],
  ])('is not known when %s', (reason, changes) => {
    expect(timeToDrain(queue(changes))).toEqual({ seconds: null, reason });
  });
});
