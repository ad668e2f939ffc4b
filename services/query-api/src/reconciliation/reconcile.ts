import { startOfMinute } from '@fleetwire/contracts/edge-report';
import type { ReconciliationEntries, MinuteEntries, Edge } from '@fleetwire/store/reconciliation';

/**
 * `balanced`: everything received is accounted for. `settling`: some is under way, or its report is. `incomplete`: the report of an edge
 * is missing, so that more came out than is known to have come in. `unbalanced`: readings are missing, or nobody knows where they came from.
 */
export const reconciliationStates = ['balanced', 'settling', 'incomplete', 'unbalanced'] as const;
type ReconciliationState = (typeof reconciliationStates)[number];

/** received + replayed = stored + duplicate + rejected + deadLettered + inFlight + difference. */
export interface Totals {
  readonly received: number;
  /** Dead letters that were stored after all: they count as dead-lettered, and again as stored. */
  readonly replayed: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly deadLettered: number;
  readonly inFlight: number;
  /** Positive: readings are missing. Negative: more is there than was received. */
  readonly difference: number;
  /** Sent back to the device to come again; not part of the equation. */
  readonly nacked: number;
  readonly state: ReconciliationState;
}

interface MinuteTotals extends Totals {
  readonly minute: number;
}

export interface ReconciliationReport {
  readonly total: Totals;
  readonly minutes: readonly MinuteTotals[];
  readonly edges: readonly ReconciledEdge[];
  /** A sentence for people. */
  readonly explanation: string;
}

interface ReconciledEdge extends Edge {
  /** `silent`: it reported no more, and did not say that it was the last time. */
  readonly state: 'reporting' | 'finished' | 'silent';
}

export interface ReconcileOptions {
  /** Epoch milliseconds. */
  readonly now: number;
  /** Readings that arrived before this (epoch milliseconds) are under way no more; 0 where nobody knows. */
  readonly settledBefore: number;
  readonly deviceId?: string | undefined;
}

/** Without a report for so long an edge is silent: the longest interval, and a bit. */
const silentAfterMs = 90_000;
/** From a reading's arrival to the report that holds it: the confirm, and the interval. */
const reportLagMs = 15_000;

/** Balances the books: what came in against what became of it. */
export function reconcile(books: ReconciliationEntries, circumstances: ReconcileOptions): ReconciliationReport {
  const edges = books.edges.map((edge) => ({ ...edge, state: stateOf(edge, circumstances) }));
  const areReportsMissing =
    books.acceptedOfOthers > 0 ||
    edges.some(({ state, missingReports }) => state === 'silent' || missingReports.length > 0);
  const settledBefore = Math.min(
    circumstances.settledBefore,
    circumstances.now - reportLagMs,
    ...edges.filter(({ state }) => state === 'reporting').map(({ lastReportedAt }) => lastReportedAt - reportLagMs),
  );
  const minutes = books.minutes.map((minute) =>
    balanceOf(minute, { isSettling: startOfMinute(minute.minute + 1) > settledBefore, areReportsMissing }),
  );
  const total = sum(minutes);
  return { total, minutes, edges, explanation: explain(total, edges, books, circumstances) };
}

function balanceOf(
  entry: MinuteEntries,
  { isSettling, areReportsMissing }: { isSettling: boolean; areReportsMissing: boolean },
): MinuteTotals {
  const { minute, accepted, rejected, nacked, unconfirmed, stored, replayed, duplicates, repeats, dead } = entry;
  const open = accepted - stored - duplicates - dead;
  // What a second try found stored already is a duplicate only where nothing else became of it.
  const again = Math.min(repeats, Math.max(0, open));
  // What was published without an answer has arrived after all.
  const late = Math.min(unconfirmed, Math.max(0, -open));
  const gone = entry.rows === null ? 0 : Math.max(0, stored + replayed - entry.forgotten - entry.rows);
  const left = open - again + late;
  const inFlight = isSettling ? Math.max(0, left) : 0;
  const difference = left - inFlight + gone;
  return {
    minute,
    received: accepted + late + rejected,
    replayed,
    stored: stored + replayed - gone,
    duplicate: duplicates + again,
    rejected,
    deadLettered: dead,
    inFlight,
    difference,
    nacked: nacked - late,
    state: stateOfMinute({ inFlight, difference, gone, isSettling, areReportsMissing }),
  };
}

function stateOfMinute({
  inFlight,
  difference,
  gone,
  isSettling,
  areReportsMissing,
}: {
  inFlight: number;
  difference: number;
  gone: number;
  isSettling: boolean;
  areReportsMissing: boolean;
}): ReconciliationState {
  if (gone > 0 || difference > 0) return 'unbalanced';
  if (difference < 0) return isSettling ? 'settling' : areReportsMissing ? 'incomplete' : 'unbalanced';
  return inFlight > 0 ? 'settling' : 'balanced';
}

function stateOf(edge: Edge, { now }: ReconcileOptions): ReconciledEdge['state'] {
  if (edge.isFinished) return 'finished';
  return now - edge.lastReportedAt > silentAfterMs ? 'silent' : 'reporting';
}

const summed = [
  'received',
  'replayed',
  'stored',
  'duplicate',
  'rejected',
  'deadLettered',
  'inFlight',
  'difference',
  'nacked',
] as const;

function sum(minutes: readonly MinuteTotals[]): Totals {
  const total = Object.fromEntries(
    summed.map((name) => [name, minutes.reduce((so, minute) => so + minute[name], 0)]),
  ) as Record<(typeof summed)[number], number>;
  const worst = Math.max(0, ...minutes.map(({ state }) => reconciliationStates.indexOf(state)));
  return { ...total, state: reconciliationStates[worst] ?? 'balanced' };
}

function explain(
  { state, difference, inFlight }: Totals,
  edges: readonly ReconciledEdge[],
  books: ReconciliationEntries,
  { deviceId }: ReconcileOptions,
): string {
  const doubts = [
    ...edges.flatMap(({ instanceId, state: edge, lastReportedAt, missingReports }) => [
      ...(edge === 'silent'
        ? [
            `ingest-ws ${instanceId} has not reported since ${new Date(lastReportedAt).toISOString()}, and did not say goodbye`,
          ]
        : []),
      ...missingReports.map(
        ({ from, to }) => `report ${from === to ? from : `${from} to ${to}`} of ingest-ws ${instanceId} is missing`,
      ),
    ]),
    ...(books.acceptedOfOthers > 0
      ? [`${books.acceptedOfOthers} readings were accepted of devices that reports do not tell apart`]
      : []),
    ...(books.unreadable > 0
      ? [`${books.unreadable} dead letters could not be read: what they held is not known`]
      : []),
  ];
  const whose = deviceId === undefined ? '' : ` of ${deviceId}`;
  const verdicts: Record<ReconciliationState, string> = {
    balanced: `Everything received${whose} is accounted for`,
    settling: `${inFlight} readings${whose} are under way, or the report of them is`,
    incomplete: `${-difference} readings${whose} are there of which no edge has reported`,
    unbalanced:
      difference < 0
        ? `${-difference} readings${whose} are there that nobody has received`
        : `${difference} readings${whose} are missing`,
  };
  return [verdicts[state], ...doubts].join('; ');
}
