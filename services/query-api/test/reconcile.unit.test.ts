import { minuteOf, startOfMinute } from '@fleetwire/contracts/edge-report';
import type { MinuteEntries, Edge } from '@fleetwire/store/reconciliation';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reconcile } from '../src/reconciliation/reconcile.ts';

const minute = minuteOf(Date.UTC(2026, 10, 21, 12, 0));
const later = startOfMinute(minute + 10);
const empty: MinuteEntries = {
  minute,
  accepted: 0,
  rejected: 0,
  nacked: 0,
  unconfirmed: 0,
  stored: 0,
  replayed: 0,
  duplicates: 0,
  repeats: 0,
  conflicting: 0,
  dead: 0,
  dropped: 0,
  rows: null,
};
const edge: Edge = {
  instanceId: 'edge-1',
  firstReportedAt: startOfMinute(minute - 5),
  lastReportedAt: later,
  isFinished: false,
  missingReports: [],
};

function audited(
  entry: Partial<MinuteEntries>,
  { edges = [edge], settledBefore = later, now = later, acceptedOfOthers = 0 } = {},
) {
  const minutes = [{ ...empty, ...entry }];
  const result = reconcile(
    { minutes, edges, unreadable: 0, acceptedOfOthers, acknowledgements: [], isRecounted: true },
    { now, settledBefore },
  );
  return { ...result.total, explanation: result.explanation };
}

describe('reconciliation', () => {
  it('is balanced when everything received is stored, a duplicate, rejected or dead-lettered', () => {
    const entry = { accepted: 10, rejected: 3, nacked: 5, stored: 6, duplicates: 3, dead: 1, rows: 6 };
    expect(audited(entry)).toMatchObject({ state: 'balanced', received: 13, missing: 0, surplus: 0, inFlight: 0 });
  });

  it('reports an accepted reading that is nowhere as missing', () => {
    expect(audited({ accepted: 10, stored: 9 })).toMatchObject({ state: 'unbalanced', missing: 1, surplus: 0 });
  });

  it('reports a deleted row as missing, also while other readings are in flight', () => {
    const entry = { accepted: 10, stored: 9, rows: 7, dropped: 1 };
    expect(audited(entry, { settledBefore: 0 })).toMatchObject({ state: 'unbalanced', missing: 1, inFlight: 1 });
  });

  it('is settling while readings may be in flight', () => {
    expect(audited({ accepted: 10, stored: 4 }, { settledBefore: startOfMinute(minute) })).toMatchObject({
      state: 'settling',
      inFlight: 6,
      missing: 0,
    });
  });

  it('is settling while the report of stored readings has not arrived', () => {
    const reporting = { ...edge, lastReportedAt: startOfMinute(minute) };
    const shortlyAfter = startOfMinute(minute + 1);
    expect(audited({ stored: 4 }, { edges: [reporting], now: shortlyAfter })).toMatchObject({ state: 'settling' });
  });

  it('names a silent ingest instance when more is stored than was reported as received', () => {
    const silent = { ...edge, lastReportedAt: startOfMinute(minute) };
    const result = audited({ accepted: 2, stored: 5 }, { edges: [silent], now: later });
    expect(result).toMatchObject({ state: 'incomplete', missing: 0, surplus: 3 });
    expect(result.explanation).toContain('edge-1 has not reported since');
  });

  it('names a report that never arrived', () => {
    const result = audited({ stored: 5 }, { edges: [{ ...edge, missingReports: [{ from: 4, to: 6 }] }] });
    expect(result).toMatchObject({ state: 'incomplete' });
    expect(result.explanation).toContain('report 4 to 6 of ingest-ws edge-1 is missing');
  });

  it('is unbalanced when more is stored than was received and no report is missing', () => {
    expect(audited({ stored: 5 })).toMatchObject({ state: 'unbalanced', missing: 0, surplus: 5 });
  });

  it('counts a reading that was published without a confirm as received when it is stored', () => {
    expect(audited({ accepted: 2, nacked: 3, unconfirmed: 3, stored: 4 })).toMatchObject({
      state: 'balanced',
      received: 4,
      nacked: 1,
    });
  });

  it('counts readings that a repeated attempt found stored as duplicates only where they are unaccounted for', () => {
    expect(audited({ accepted: 5, stored: 5, repeats: 5 })).toMatchObject({ state: 'balanced', duplicate: 0 });
    expect(audited({ accepted: 7, stored: 5, repeats: 5 })).toMatchObject({ state: 'balanced', duplicate: 2 });
  });

  it('counts a dead letter that was replayed and stored as both', () => {
    expect(audited({ accepted: 5, stored: 4, dead: 1, replayed: 1, rows: 5 })).toMatchObject({
      state: 'balanced',
      replayed: 1,
      stored: 5,
    });
  });

  it('reports missing and surplus readings as two numbers when an edge is killed under resends and others are lost', () => {
    const killed = { ...edge, lastReportedAt: startOfMinute(minute) };
    const { total, minutes, alarming, explanation } = reconcile(
      {
        minutes: [
          { ...empty, accepted: 1_000, stored: 60_262 },
          { ...empty, minute: minute + 1, accepted: 10_000, stored: 9_934 },
        ],
        edges: [killed],
        unreadable: 0,
        acceptedOfOthers: 0,
        acknowledgements: [],
        isRecounted: true,
      },
      { now: later, settledBefore: later },
    );
    expect(total).toMatchObject({ state: 'unbalanced', missing: 66, surplus: 59_262 });
    expect(minutes).toMatchObject([
      { state: 'incomplete', missing: 0, surplus: 59_262 },
      { state: 'unbalanced', missing: 66, surplus: 0 },
    ]);
    expect(explanation).toContain('66 readings are missing');
    expect(explanation).toContain('59262 readings are stored that no ingest-ws has reported');
    expect(alarming).toEqual({ missing: 66, surplus: 0 });
  });

  it('says both when minutes with a loss and a surplus of the same size cancel out', () => {
    const { total, alarming, explanation } = reconcile(
      {
        minutes: [
          { ...empty, accepted: 5, stored: 2 },
          { ...empty, minute: minute + 1, accepted: 2, stored: 5 },
        ],
        edges: [edge],
        unreadable: 0,
        acceptedOfOthers: 0,
        acknowledgements: [],
        isRecounted: true,
      },
      { now: later, settledBefore: later },
    );
    expect(total).toMatchObject({ state: 'unbalanced', missing: 3, surplus: 3 });
    expect(explanation).toBe('3 readings are missing; 3 readings are stored that no ingest-ws has received');
    expect(alarming).toEqual({ missing: 3, surplus: 3 });
  });

  it('raises no alarm for minutes that are settling or incomplete', () => {
    const silent = { ...edge, lastReportedAt: startOfMinute(minute) };
    const alarmingOf = (entry: Partial<MinuteEntries>, edges: Edge[], settledBefore: number) =>
      reconcile(
        {
          minutes: [{ ...empty, ...entry }],
          edges,
          unreadable: 0,
          acceptedOfOthers: 0,
          acknowledgements: [],
          isRecounted: true,
        },
        { now: later, settledBefore },
      ).alarming;
    expect(alarmingOf({ accepted: 10, stored: 4 }, [edge], 0)).toEqual({ missing: 0, surplus: 0 });
    expect(alarmingOf({ stored: 4 }, [edge], 0)).toEqual({ missing: 0, surplus: 0 });
    expect(alarmingOf({ stored: 4 }, [silent], later)).toEqual({ missing: 0, surplus: 0 });
  });

  it('names duplicates that differ from the stored reading as a part of the duplicates', () => {
    const total = audited({ accepted: 10, stored: 6, duplicates: 4, conflicting: 3 });
    expect(total).toMatchObject({ state: 'balanced', duplicate: 4, conflicting: 3 });
    expect(total.explanation).toBe(
      'All readings are accounted for; 3 of the duplicates differ from the stored reading of the same device, epoch and seq, and were not stored',
    );
    // The same message, delivered twice.
    expect(audited({ accepted: 4, duplicates: 4, repeats: 4, conflicting: 8 })).toMatchObject({
      state: 'balanced',
      duplicate: 4,
      conflicting: 4,
    });
  });

  it('satisfies its equation whatever the entries', () => {
    const n = fc.nat(50);
    const entry = fc.record({
      accepted: n,
      rejected: n,
      nacked: n,
      unconfirmed: n,
      stored: n,
      replayed: n,
      duplicates: n,
      repeats: n,
      conflicting: n,
      dead: n,
      dropped: n,
      rows: fc.option(n),
    });
    fc.assert(
      fc.property(entry, fc.boolean(), (any, isSettling) => {
        const total = audited(any, { settledBefore: isSettling ? 0 : later });
        const { stored, duplicate, rejected, deadLettered, inFlight, missing } = total;
        expect(total.received + total.replayed + total.surplus).toBe(
          stored + duplicate + rejected + deadLettered + inFlight + missing,
        );
        expect(total.conflicting).toBeLessThanOrEqual(duplicate);
        for (const count of [inFlight, missing, total.surplus]) expect(count).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});
