import { describe, expect, it } from 'vitest';
import { AutoSequence } from '../src/auto-sequence.ts';

describe('numbers for readings without seq', () => {
  it('follow each other for each device, in one epoch', () => {
    const sequence = new AutoSequence({ devicesMax: 10 });
    const first = sequence.assign('a', 3);
    expect(first.seq).toBe(1);
    expect(sequence.assign('a', 2)).toEqual({ ...first, seq: 4 });
    expect(sequence.assign('a', 1)).toEqual({ ...first, seq: 6 });
    expect(sequence.assign('b', 1).seq).toBe(1);
  });

  it('stay in their epoch for all devices but the least recently used one, beyond the number of devices', () => {
    const sequence = new AutoSequence({ devicesMax: 3 });
    const before = new Map(['a', 'b', 'c'].map((id) => [id, sequence.assign(id, 1)]));
    expect(sequence.assign('a', 1)).toEqual({ ...before.get('a'), seq: 2 });
    sequence.assign('d', 1);
    expect(sequence.assign('a', 1)).toEqual({ ...before.get('a'), seq: 3 });
    expect(sequence.assign('c', 1)).toEqual({ ...before.get('c'), seq: 2 });
    const again = sequence.assign('b', 1);
    expect(again.epoch).not.toBe(before.get('b')!.epoch);
    expect(again.seq).toBe(1);
  });

  it('never repeat an identity, whichever devices are forgotten', () => {
    const sequence = new AutoSequence({ devicesMax: 2 });
    const identities = new Set<string>();
    for (let n = 0; n < 100; n += 1) {
      const deviceId = `d-${(n * 7) % 5}`;
      const { epoch, seq } = sequence.assign(deviceId, 1);
      identities.add(`${deviceId} ${epoch} ${seq}`);
    }
    expect(identities.size).toBe(100);
  });
});
