import { describe, expect, it } from 'vitest';
import { MicroBatcher } from '../src/micro-batcher.ts';

const bounds = { readingsMax: 10, bytesMax: 100, lingerMs: 5 };
const item = (readingCount: number, bytes: number) => ({ readingCount, bytes });

describe('micro-batch', () => {
  it('is due immediately when the previous batch is longer ago than one linger', () => {
    const batcher = new MicroBatcher(bounds);
    batcher.add(item(1, 1), 100);
    expect(batcher.isDue(100)).toBe(true);
    batcher.nextBatch(100);
    batcher.add(item(1, 1), 105);
    expect(batcher.isDue(105)).toBe(true);
  });

  it('is due one linger after the previous batch', () => {
    const batcher = new MicroBatcher(bounds);
    batcher.add(item(1, 1), 100);
    batcher.nextBatch(100);
    batcher.add(item(1, 1), 101);
    batcher.add(item(1, 1), 103);
    expect(batcher.deadline).toBe(105);
    expect(batcher.isDue(104)).toBe(false);
    expect(batcher.isDue(105)).toBe(true);
  });

  it('is due one linger after its oldest item, even if the previous batch left that item behind', () => {
    const batcher = new MicroBatcher(bounds);
    batcher.add(item(9, 1), 100);
    batcher.add(item(9, 1), 101);
    batcher.nextBatch(104);
    expect(batcher.deadline).toBe(106);
  });

  it('leaves out items that were taken because of their age', () => {
    const batcher = new MicroBatcher<ReturnType<typeof item> & { readonly at: number }>(bounds);
    for (const at of [100, 101, 102]) batcher.add({ ...item(4, 4), at }, at);
    expect(batcher.isFull).toBe(true);
    expect(batcher.takeAddedBy(101).map(({ at }) => at)).toEqual([100, 101]);
    expect([batcher.isFull, batcher.oldestAt]).toEqual([false, 102]);
    expect(batcher.takeAddedBy(101)).toEqual([]);
    expect(batcher.takeAddedBy(200).map(({ at }) => at)).toEqual([102]);
    expect(batcher.isEmpty).toBe(true);
  });

  it('is due immediately when readings or bytes fill it', () => {
    const byReadings = new MicroBatcher(bounds);
    byReadings.add(item(10, 1), 0);
    expect(byReadings.isDue(0)).toBe(true);
    const byBytes = new MicroBatcher(bounds);
    byBytes.add(item(1, 100), 0);
    expect(byBytes.isDue(0)).toBe(true);
  });

  it('takes the oldest items that fit and leaves the others', () => {
    const batcher = new MicroBatcher(bounds);
    for (const readings of [4, 4, 4]) batcher.add(item(readings, 1), 0);
    expect(batcher.nextBatch(0)).toHaveLength(2);
    expect(batcher.nextBatch(0)).toHaveLength(1);
    expect(batcher.isEmpty).toBe(true);
  });

  it('takes an item that is larger than the bounds as a batch of one', () => {
    const batcher = new MicroBatcher(bounds);
    batcher.add(item(500, 9_000), 0);
    batcher.add(item(1, 1), 0);
    expect(batcher.nextBatch(0)).toEqual([item(500, 9_000)]);
  });
});
