import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Notice } from '../src/notices.ts';
import { Watch, openEnd } from '../src/watch.ts';
import { type Mutant, WatchModel } from './watch-model.ts';

/** What happens (`WatchModel.act`), and how. */
const schedules = fc.array(fc.tuple(fc.nat(22), fc.nat(10_000)), { minLength: 50, maxLength: 250, size: 'max' });

function run(schedule: readonly (readonly [number, number])[], mutant?: Mutant) {
  const model = new WatchModel(mutant);
  for (const [action, chance] of schedule) model.act(action, chance);
  return { ...model.finish(), isCaughtUp: model.isCaughtUp };
}

describe('a watch', () => {
  it('misses nothing and repeats nothing, whatever is lost, killed, changed or resumed', () => {
    fc.assert(
      fc.property(schedules, (schedule) => {
        expect(run(schedule)).toEqual({ missed: [], twice: [], isCaughtUp: true });
      }),
      { numRuns: 1_000 },
    );
  });

  it('finds an edge that was killed before it was heard, and reads what it had accepted', () => {
    const [subscribes, asks, edgeBegins, acceptsAndIsKilled] = [
      [19, 0],
      [15, 0],
      [20, 7],
      [0, 69],
    ] as const;
    expect(run([subscribes, asks, edgeBegins, acceptsAndIsKilled])).toEqual({
      missed: [],
      twice: [],
      isCaughtUp: true,
    });
  });

  it('that looks for such edges in vain tells nothing, and looks again', () => {
    const notices: Notice[] = [];
    const watch = new Watch({
      revision: 1,
      now: 0,
      onReadings: () => {},
      onNotice: (notice) => notices.push(notice),
      bufferReadingsMax: 10,
      leaseMs: 1_000_000,
    });
    watch.nextQuestion(0);
    watch.answerBegins(new Map([['e', { key: 1, settled: 0, isClosed: false }]]));
    watch.answerEnds({}, 1);
    watch.hear({ edge: 'e', number: 0, prev: 0, revision: 1 }, 2);
    expect(watch.isCaughtUp).toBe(true);
    notices.length = 0;
    expect(watch.nextQuestion(100_000)).toBeUndefined();
    expect(watch.nextQuestion(130_000)).toEqual({ first: false, ranges: {}, edgesKnown: 1 });
    watch.answerFailed(130_001);
    expect(watch.nextQuestion(200_000)).toBeUndefined();
    expect(watch.nextQuestion(260_000)).toBeDefined();
    expect(notices).toEqual([]);
  });

  it.each<[Mutant, 'missed' | 'twice']>([
    ['prev-ignored', 'missed'],
    ['fill-without-settled', 'missed'],
    ['older-revisions-taken', 'missed'],
    ['interest-does-not-move-prev', 'missed'],
    ['history-above-settled', 'twice'],
  ])(
    'is found wrong with the planted fault %s: readings %s',
    (mutant, fault) => {
      const isSound = fc.property(schedules, (schedule) => run(schedule, mutant)[fault].length === 0);
      expect(fc.check(isSound, { numRuns: 1_000, endOnFailure: true }).failed).toBe(true);
    },
    120_000,
  );

  it.each([
    ['messages', { bytes: 0 }, 10_000],
    ['bytes', { bytes: 64 * 1024 }, 64],
  ])('keeps few %s while its history is read; what it drops is a gap', (_what, { bytes }, kept) => {
    const notices: Notice[] = [];
    let sent = 0;
    const watch = new Watch({
      revision: 1,
      now: 0,
      onReadings: (_phase, readings) => (sent += readings.length),
      onNotice: (notice) => notices.push(notice),
      bufferReadingsMax: 1_000_000,
      leaseMs: 1_000,
    });
    watch.nextQuestion(0);
    const readings = (seq: number) => [{ deviceId: 'd', epoch: 'e', seq, ts: 1, receivedAt: 1, metrics: {} }];
    for (let number = 1; number <= 20_000; number += 1)
      watch.hear({ edge: 'e', number, prev: number - 1, revision: 1, readings: readings(number), bytes }, 1);
    watch.answerBegins(new Map([['e', { key: 1, settled: 0, isClosed: false }]]));
    watch.answerEnds({}, 1);
    expect(sent).toBe(kept);
    watch.hear({ edge: 'e', number: 20_001, prev: 20_000, revision: 1, readings: [] }, 2);
    expect(watch.position?.gaps).toEqual({ e: [[kept + 1, 20_000]] });
  });

  it('has passed what a position names: a change of interest after a quiet hour is no gap of that hour', () => {
    const notices: Notice[] = [];
    const watch = new Watch({
      revision: 1,
      now: 0,
      onReadings: () => {},
      onNotice: (notice) => notices.push(notice),
      bufferReadingsMax: 10,
      leaseMs: 1_000,
    });
    watch.nextQuestion(0);
    watch.answerBegins(new Map([['e', { key: 1, settled: 7, isClosed: false }]]));
    watch.answerEnds({}, 0);
    watch.hear({ edge: 'e', number: 50_000, prev: 7, revision: 1 }, 1);
    expect(watch.position?.hi).toEqual({ e: 50_000 });
    watch.hear({ edge: 'e', number: 50_003, prev: 50_003, revision: 2 }, 2);
    expect(notices.filter(({ type }) => type === 'gap')).toMatchObject([{ envelopes: 3 }]);
  });

  it('is caught up beside an edge that ended without a last report, and says that more may come', () => {
    const notices: Notice[] = [];
    const watch = new Watch({
      revision: 1,
      now: 0,
      onReadings: () => {},
      onNotice: (notice) => notices.push(notice),
      bufferReadingsMax: 10,
      leaseMs: 1_000,
    });
    const edges = new Map([['killed', { key: 1, settled: 7, isClosed: false }]]);
    const answer = (now: number, left: Record<string, [number, number][]>): void => {
      expect(watch.nextQuestion(now)).toBeDefined();
      watch.answerBegins(edges);
      watch.answerEnds(left, now);
    };
    answer(0, {});
    expect(notices).toEqual([]);
    watch.tick(1_000);
    answer(1_000, { killed: [[8, openEnd]] });
    expect(notices).toMatchObject([
      { type: 'pending', reason: 'edge-ended' },
      { type: 'caught_up', readings: 0 },
    ]);
    expect(watch.position).toEqual({ hi: { killed: 7 }, gaps: {}, edgesKnown: 1 });
  });
});
