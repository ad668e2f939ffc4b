import { describe, expect, it } from 'vitest';
import { gapProblems, historyProblems, latestProblems } from '../answers.ts';

const at = (second: number) => Date.UTC(2026, 0, 1, 0, 0, second);
const isoAt = (second: number) => new Date(at(second)).toISOString();
const sent = new Map([
  [1, { ts: at(1), metrics: { t: 1 } }],
  [2, { ts: at(2), metrics: { t: 2, u: true } }],
  [3, { ts: at(2), metrics: { t: 3 } }],
]);
const history = [
  { epoch: 'boot', seq: 1, ts: isoAt(1), metrics: { t: 1 } },
  { epoch: 'boot', seq: 2, ts: isoAt(2), metrics: { u: true, t: 2 } },
  { epoch: 'boot', seq: 3, ts: isoAt(2), metrics: { t: 3 } },
];

describe('the answers of query-api', () => {
  it('have the history that was sent', () => {
    expect(historyProblems(sent, history)).toEqual([]);
    expect(historyProblems(sent, history.slice(1))).toEqual(['the history lacks 1']);
    expect(historyProblems(sent, [...history, history[2]!])).toEqual(['the history repeats 1 readings']);
    expect(historyProblems(sent, history.toReversed())).toEqual(['the history is not in the order of time']);
    expect(historyProblems(sent, [...history, { ...history[2]!, seq: 4 }])).toEqual([
      'the history lists 4, which were not acknowledged',
    ]);
    expect(historyProblems(sent, history.with(0, { ...history[0]!, metrics: { t: 1.5 } }))).toEqual([
      'the history alters 1',
    ]);
  });

  it('have exactly the gaps between what was acknowledged', () => {
    const acked = new Set([1, 2, 5, 6, 8]);
    const [first, second] = [
      { epoch: 'boot', from: 3, to: 4 },
      { epoch: 'boot', from: 7, to: 7 },
    ];
    expect(gapProblems(acked, [first, second])).toEqual([]);
    expect(gapProblems(acked, [first])).toEqual(['/gaps reports 3-4; missing are 3-4, 7']);
  });

  it('have the newest value of each metric, either one of two with the same time', () => {
    const readings = [...sent.values()];
    expect(latestProblems(readings, { ts: isoAt(2), metrics: { t: 3, u: true } })).toEqual([]);
    expect(latestProblems(readings, { ts: isoAt(2), metrics: { t: 2, u: true } })).toEqual([]);
    expect(latestProblems(readings, { ts: isoAt(1), metrics: { t: 1, u: true, v: 0 } })).toEqual([
      `/latest is of ${isoAt(1)}; the newest reading is of ${isoAt(2)}`,
      '/latest has 1 for t; the newest value is 2',
      '/latest has v, which was never sent',
    ]);
  });
});
