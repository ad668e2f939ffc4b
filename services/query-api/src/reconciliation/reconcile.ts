import { startOfMinute } from '@fleetwire/contracts/edge-report';
import type { Edge, MinuteEntries, ReconciliationEntries } from '@fleetwire/store/reconciliation';
import { explain } from './explanation.ts';

/**
 * From best to worst; of several minutes the total has the worst.
 *
 * | State | Meaning |
 * | --- | --- |
 * | `balanced` | everything received is accounted for |
 * | `settling` | readings, or the reports of them, are still in flight: check again later |
 * | `incomplete` | more is stored than was reported as received, and the report of an ingest instance is missing |
 * | `unbalanced` | readings are missing, or more are stored than were received although no report is missing |
 */
export const reconciliationStates = ['balanced', 'settling', 'incomplete', 'unbalanced'] as const;
type ReconciliationState = (typeof reconciliationStates)[number];

/** received + replayed + surplus = stored + duplicate + rejected + deadLettered + inFlight + missing. */
export interface Totals {
  readonly received: number;
  /** Dead letters that were stored later: they count as dead-lettered, and again as stored. */
  readonly replayed: number;
  readonly stored: number;
  readonly duplicate: number;
  /** The part of `duplicate` that was found to have another content than the stored reading. */
  readonly conflicting: number;
  readonly rejected: number;
  readonly deadLettered: number;
  readonly inFlight: number;
  /** Accepted, settled, and neither stored nor a duplicate nor a dead letter; or stored and deleted since. */
  readonly missing: number;
  /** Stored, or found to be duplicates, beyond what was reported as received. Minutes are not netted against one another. */
  readonly surplus: number;
  /** The parts of `missing` and `surplus` that an operator has acknowledged; 0 in the report of one device. */
  readonly acknowledgedMissing: number;
  readonly acknowledgedSurplus: number;
  /** Sent back to the device, which sends them again; not part of the equation. */
  readonly nacked: number;
  readonly state: ReconciliationState;
}

interface MinuteTotals extends Totals {
  readonly minute: number;
}

/** Why a surplus may be there. */
type SurplusCause = 'settling' | 'incomplete' | 'unbalanced';
export type SurplusByCause = Readonly<Record<SurplusCause, number>>;

export interface ReconciliationReport {
  readonly total: Totals;
  readonly minutes: readonly MinuteTotals[];
  readonly edges: readonly ReconciledEdge[];
  /**
   * Readings that no report in flight, no missing report and no operator has explained: the surplus of settling and incomplete minutes and what
   * is acknowledged are left out.
   */
  readonly alarming: { readonly missing: number; readonly surplus: number };
  /** The result as a sentence. */
  readonly explanation: string;
}

export interface ReconciledEdge extends Edge {
  /** `silent`: it has stopped reporting without a final report. */
  readonly state: 'reporting' | 'finished' | 'silent';
  /** An operator has acknowledged the time of its last report. */
  readonly isAcknowledged: boolean;
}

export interface ReconcileOptions {
  /** Epoch milliseconds. */
  readonly now: number;
  /** Readings that arrived before this (epoch milliseconds) are not in flight any more; 0 where that is not known. */
  readonly settledBefore: number;
  readonly deviceId?: string | undefined;
}

/** An instance without a report for this long is silent: the longest report interval, and half of it. */
const silentAfterMs = 90_000;
/** Longest time from a reading's arrival to the report that counts it: the confirm, and the report interval. */
const reportLagMs = 15_000;

/** Compares what ingest instances report as received with what was stored, minute by minute. */
export function reconcile(entries: ReconciliationEntries, options: ReconcileOptions): ReconciliationReport {
  const edges = entries.edges.map((edge) => ({
    ...edge,
    state: stateOfEdge(edge, options),
    isAcknowledged: entries.acknowledgements.some(
      ({ from, to }) => from <= edge.lastReportedAt && edge.lastReportedAt < to,
    ),
  }));
  const known =
    options.deviceId === undefined ? acknowledgedByMinute(entries.acknowledgements) : acknowledgedByMinute([]);
  const areReportsMissing =
    entries.acceptedOfOthers > 0 ||
    edges.some(({ state, missingReports }) => state === 'silent' || missingReports.length > 0);
  const settledBefore = Math.min(
    options.settledBefore,
    options.now - reportLagMs,
    ...edges.filter(({ state }) => state === 'reporting').map(({ lastReportedAt }) => lastReportedAt - reportLagMs),
  );
  const surplus = { settling: 0, incomplete: 0, unbalanced: 0 };
  let alarmingSurplus = 0;
  const minutes = entries.minutes.map((minute) => {
    const isSettling = startOfMinute(minute.minute + 1) > settledBefore;
    const surplusCause = isSettling ? 'settling' : areReportsMissing ? 'incomplete' : 'unbalanced';
    const found = reconcileMinute(minute, { isSettling, surplusCause });
    const acknowledged = known.get(minute.minute) ?? { missing: 0, surplus: 0 };
    const totals = {
      ...found,
      acknowledgedMissing: Math.min(found.missing, acknowledged.missing),
      acknowledgedSurplus: Math.min(found.surplus, acknowledged.surplus),
    };
    surplus[surplusCause] += totals.surplus;
    if (surplusCause === 'unbalanced') alarmingSurplus += totals.surplus - totals.acknowledgedSurplus;
    return totals;
  });
  const total = sum(minutes);
  return {
    total,
    minutes,
    edges,
    alarming: { missing: total.missing - total.acknowledgedMissing, surplus: alarmingSurplus },
    explanation: explain(total, surplus, edges, entries, options.deviceId),
  };
}

/**
 * The cases, for a minute in which 10 readings were accepted, none of them a duplicate or a dead letter, so that `expected` is 10:
 *
 * | Case | Entries | Result |
 * | --- | --- | --- |
 * | all there | stored 10 | `balanced` |
 * | fewer stored, still settling | stored 8 | inFlight 2: `settling` |
 * | fewer stored, settled | stored 8 | missing 2: `unbalanced` |
 * | fewer stored, found stored by a repeated attempt | stored 8, repeats 5 | duplicate 2, `balanced`: 2 of the 5 were true duplicates, 3 were stored by the first attempt |
 * | more stored, published without a confirm | stored 12, unconfirmed 5 | received 12, `balanced`: 2 of the 5 did arrive, and their nack does not count |
 * | more stored, still settling | stored 12 | surplus 2: `settling` |
 * | more stored, a report is missing | stored 12 | surplus 2: `incomplete` |
 * | more stored, all reports there | stored 12 | surplus 2: `unbalanced` |
 * | rows deleted by others than retention | stored 10, rows 9, dropped 0 | stored 9, missing 1: `unbalanced`, also while settling |
 */
function reconcileMinute(
  entries: MinuteEntries,
  { isSettling, surplusCause }: { isSettling: boolean; surplusCause: SurplusCause },
): Omit<MinuteTotals, 'acknowledgedMissing' | 'acknowledgedSurplus'> {
  const { minute, accepted, rejected, nacked, unconfirmed, stored, replayed, duplicates, repeats, conflicting, dead } =
    entries;
  const expected = accepted - duplicates - dead;
  const fewer = Math.max(0, expected - stored);
  const more = Math.max(0, stored - expected);
  const repeatedDuplicates = Math.min(repeats, fewer);
  const arrivedUnconfirmed = Math.min(unconfirmed, more);
  const deletedRows = entries.rows === null ? 0 : Math.max(0, stored + replayed - entries.dropped - entries.rows);

  const unaccounted = fewer - repeatedDuplicates;
  const surplus = more - arrivedUnconfirmed;
  const inFlight = isSettling ? unaccounted : 0;
  const missing = unaccounted - inFlight + deletedRows;
  const state = (): ReconciliationState => {
    if (missing > 0) return 'unbalanced';
    if (surplus > 0) return surplusCause;
    return inFlight > 0 ? 'settling' : 'balanced';
  };
  return {
    minute,
    received: accepted + arrivedUnconfirmed + rejected,
    replayed,
    stored: stored + replayed - deletedRows,
    duplicate: duplicates + repeatedDuplicates,
    // A message that is delivered again counts its conflicting readings again.
    conflicting: Math.min(conflicting, duplicates + repeatedDuplicates),
    rejected,
    deadLettered: dead,
    inFlight,
    missing,
    surplus,
    nacked: nacked - arrivedUnconfirmed,
    state: state(),
  };
}

/** By minute, what operators have acknowledged: of several acknowledgements of a minute, the largest numbers. */
function acknowledgedByMinute(
  acknowledgements: ReconciliationEntries['acknowledgements'],
): Map<number, { missing: number; surplus: number }> {
  const byMinute = new Map<number, { missing: number; surplus: number }>();
  for (const { minute, missing, surplus } of acknowledgements.flatMap(({ minutes }) => minutes)) {
    const known = byMinute.get(minute) ?? { missing: 0, surplus: 0 };
    byMinute.set(minute, { missing: Math.max(known.missing, missing), surplus: Math.max(known.surplus, surplus) });
  }
  return byMinute;
}

function stateOfEdge(edge: Edge, { now }: ReconcileOptions): ReconciledEdge['state'] {
  if (edge.isFinished) return 'finished';
  return now - edge.lastReportedAt > silentAfterMs ? 'silent' : 'reporting';
}

const summed = [
  'received',
  'replayed',
  'stored',
  'duplicate',
  'conflicting',
  'rejected',
  'deadLettered',
  'inFlight',
  'missing',
  'surplus',
  'acknowledgedMissing',
  'acknowledgedSurplus',
  'nacked',
] as const;

function sum(minutes: readonly MinuteTotals[]): Totals {
  const total = Object.fromEntries(
    summed.map((name) => [name, minutes.reduce((so, minute) => so + minute[name], 0)]),
  ) as Record<(typeof summed)[number], number>;
  const worst = Math.max(0, ...minutes.map(({ state }) => reconciliationStates.indexOf(state)));
  return { ...total, state: reconciliationStates[worst] ?? 'balanced' };
}
