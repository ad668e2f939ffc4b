import { describe, expect, it } from 'vitest';
import { countRestart, restartDelayMs } from '../restart-policy.ts';

describe('restarts', () => {
  it('count up while a program keeps dying young', () => {
    expect([0, 1, 2].map((before) => countRestart(before, 1_000))).toEqual([1, 2, 3]);
  });

  it('start afresh after a program has run steadily', () => {
    expect(countRestart(5, 60_000)).toBe(1);
  });

  it('come after growing, bounded delays', () => {
    expect([1, 2, 3, 20].map(restartDelayMs)).toEqual([500, 1_000, 2_000, 15_000]);
  });
});
