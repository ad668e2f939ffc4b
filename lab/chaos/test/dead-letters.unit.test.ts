import { describe, expect, it } from 'vitest';
import { type DeadLetter, type Replay, counterProblems } from '../dead-letters.ts';

const letter: DeadLetter = {
  id: 'd1',
  status: 'stored',
  error: { code: '23C01' },
  replays: 1,
  automaticReplays: 0,
  repeated: 0,
};
const counts = { matched: 1, queued: 0, published: 1, stored: 1, failedAgain: 0, unknown: 0, pending: 0 };
const replay: Replay = { id: 'r1', state: 'done', source: 'operator', counts };

describe('the counters of dead letters and replays', () => {
  it('are true when each replay has stored what it published', () => {
    const poison: DeadLetter = { ...letter, id: 'p', error: { code: '23514' }, status: 'open', replays: 0 };
    expect(counterProblems([letter, poison], [replay])).toEqual([]);
  });

  it.for<[string, DeadLetter, Replay]>([
    ['replays published 2 dead letters', letter, { ...replay, counts: { ...counts, published: 2, stored: 2 } }],
    ['1 replays failed again', letter, { ...replay, counts: { ...counts, stored: 0, failedAgain: 1 } }],
    ['replay r1 is done, and its counters are', letter, { ...replay, counts: { ...counts, stored: 2 } }],
    ['dead letter d1 (23C01) is open after 1 replays', { ...letter, status: 'open' }, replay],
    ['dead letter d1 (23514) is stored after 1 replays', { ...letter, error: { code: '23514' } }, replay],
  ])('are wrong: %s', ([problem, wrong, job]) => {
    expect(counterProblems([wrong], [job]).join()).toContain(problem);
  });
});
