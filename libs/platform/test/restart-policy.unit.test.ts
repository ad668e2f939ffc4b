import { describe, expect, it } from 'vitest';
import { nextRestart, restartWithBackoff } from '../src/processes/restart-policy.ts';

const restartAfter = (before: number, ranMs = 1_000) => nextRestart(restartWithBackoff, before, ranMs);

describe('restarts with backoff', () => {
  it('come after growing delays while a process keeps exiting soon after its start, and end after the fifth', () => {
    expect([0, 1, 4].map((before) => restartAfter(before))).toEqual([
      { restart: 1, inMs: 500 },
      { restart: 2, inMs: 1_000 },
      { restart: 5, inMs: 8_000 },
    ]);
    expect(restartAfter(5)).toBeUndefined();
  });

  it('begin again with the first after a process has run for a minute', () => {
    expect(restartAfter(5, 60_000)).toEqual({ restart: 1, inMs: 500 });
  });
});
