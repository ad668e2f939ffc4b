import { describe, expect, it } from 'vitest';
import { nextRestart, restartWithBackoff } from '../src/processes/restart-policy.ts';

describe('restarts with backoff', () => {
  it('count up while a process keeps exiting soon after its start, and end after the fifth', () => {
    expect([0, 1, 4, 5].map((before) => nextRestart(restartWithBackoff, before, 1_000))).toEqual([1, 2, 5, undefined]);
  });

  it('begin again at one after a process has run for a minute', () => {
    expect(nextRestart(restartWithBackoff, 5, 60_000)).toBe(1);
  });

  it('come after growing, bounded delays', () => {
    expect([1, 2, 3, 20].map(restartWithBackoff.delayMs)).toEqual([500, 1_000, 2_000, 15_000]);
  });
});
