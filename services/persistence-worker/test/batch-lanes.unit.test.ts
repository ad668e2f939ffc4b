import { setImmediate as turn } from 'node:timers/promises';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { BatchLanes, type Load } from '../src/batch-lanes.ts';

const bounds = { readingsMax: 10, bytesMax: 1_000 };
const shortMs = 1;
const never = 60_000;

function lanesUnderTest({ lanesMax = 2, messagesMax = 100, lingerMs = shortMs } = {}) {
  const running: { readonly sizes: number[]; readonly end: () => void }[] = [];
  const run = (batch: readonly Load[]): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    running.push({
      sizes: batch.map(({ readings }) => readings),
      end: () => {
        for (const load of batch) load.promise.resolve();
        resolve();
      },
    });
    return promise;
  };
  const lanes = new BatchLanes({ bounds: { ...bounds, lingerMs }, lanesMax, messagesMax, run });
  const submit = (readings: number, alone = false): Promise<void> =>
    lanes.submit({
      items: Array.from({ length: readings }, (_, seq) => readingOf(seq)),
      bytes: readings,
      alone,
      isLastChance: false,
      origin: 'first',
      headers: {},
    });
  return { lanes, running, submit };
}

function readingOf(seq: number): IdentifiedReading {
  return { deviceId: 'd', epoch: 'e', seq, ts: 0, receivedAt: 0, metrics: { value: 1 } };
}

describe('batch lanes', () => {
  it('run the first at once, and what arrives within a linger of it together', async () => {
    const { running, submit } = lanesUnderTest();
    const first = submit(1);
    expect(running.map(({ sizes }) => sizes)).toEqual([[1]]);
    running[0]!.end();
    await first;
    void submit(2);
    void submit(3);
    await eventually(() => expect(running.map(({ sizes }) => sizes)).toEqual([[1], [2, 3]]));
  });

  it('begin no second transaction before it is full, and one with all that came when the first ends', async () => {
    const { running, submit } = lanesUnderTest();
    void submit(1);
    await eventually(() => expect(running).toHaveLength(1));
    const since = performance.now();
    void submit(4);
    const rest = submit(5 - 1);
    while (performance.now() < since + 5 * shortMs) await turn();
    expect(running).toHaveLength(1);
    running[0]!.end();
    await eventually(() => expect(running.map(({ sizes }) => sizes)).toEqual([[1], [4, 4]]));
    running[1]!.end();
    await rest;
  });

  it('wait for no more when no more can come: the broker sends none beyond what is held', async () => {
    const { running, submit } = lanesUnderTest({ messagesMax: 2, lingerMs: never });
    void submit(1);
    const second = submit(1);
    expect(running.map(({ sizes }) => sizes)).toEqual([[1], [1]]);
    running[1]!.end();
    await second;
    void submit(2);
    expect(running.map(({ sizes }) => sizes)).toEqual([[1], [1], [2]]);
  });

  it('do not wait for ever for a transaction that is stuck', async () => {
    const { running, submit } = lanesUnderTest();
    void submit(1);
    await eventually(() => expect(running).toHaveLength(1));
    void submit(2);
    await eventually(() => expect(running.map(({ sizes }) => sizes)).toEqual([[1], [2]]));
  });

  it('run a full batch beside one in flight, and no more than their bound', async () => {
    const { lanes, running, submit } = lanesUnderTest();
    for (let n = 0; n < 4; n += 1) void submit(bounds.readingsMax);
    expect(lanes.running).toBe(2);
    running[0]!.end();
    await eventually(() => expect(running).toHaveLength(3));
    expect(lanes.running).toBe(2);
  });

  it('give a message that must be alone a transaction of its own at once', () => {
    const { running, submit } = lanesUnderTest();
    void submit(2);
    void submit(3);
    void submit(1, true);
    expect(running.map(({ sizes }) => sizes)).toEqual([[2], [1]]);
  });
});
