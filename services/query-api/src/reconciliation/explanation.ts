import type { ReconciliationEntries } from '@fleetwire/store/reconciliation';
import type { ReconciledEdge, ReconciliationState, Totals } from './reconcile.ts';

/** The result of a reconciliation as a sentence, followed by what makes it uncertain. */
export function explain(
  { state, difference, inFlight }: Totals,
  edges: readonly ReconciledEdge[],
  { acceptedOfOthers, unreadable }: Pick<ReconciliationEntries, 'acceptedOfOthers' | 'unreadable'>,
  deviceId: string | undefined,
): string {
  const readings = deviceId === undefined ? 'readings' : `readings of ${deviceId}`;
  const results: Record<ReconciliationState, string> = {
    balanced: deviceId === undefined ? 'All readings are accounted for' : `All ${readings} are accounted for`,
    settling:
      inFlight > 0
        ? `${inFlight} ${readings} are in flight`
        : `${-difference} ${readings} are stored whose report has not arrived yet`,
    incomplete: `${-difference} ${readings} are stored that no ingest-ws has reported`,
    unbalanced:
      difference < 0
        ? `${-difference} ${readings} are stored that no ingest-ws has received`
        : `${difference} ${readings} are missing`,
  };
  return [results[state], ...edges.flatMap(uncertaintiesOf), ...uncertainEntries()].join('; ');

  function uncertainEntries(): string[] {
    return [
      ...(acceptedOfOthers > 0
        ? [`${acceptedOfOthers} readings were accepted from devices that reports count together`]
        : []),
      ...(unreadable > 0
        ? [`${unreadable} dead letters were unreadable: how many readings they held is not known`]
        : []),
    ];
  }
}

function uncertaintiesOf({ instanceId, state, lastReportedAt, missingReports }: ReconciledEdge): string[] {
  return [
    ...(state === 'silent'
      ? [
          `ingest-ws ${instanceId} has not reported since ${new Date(lastReportedAt).toISOString()} and never sent a final report`,
        ]
      : []),
    ...missingReports.map(
      ({ from, to }) => `report ${from === to ? from : `${from} to ${to}`} of ingest-ws ${instanceId} is missing`,
    ),
  ];
}
