import type { ReconciliationEntries } from '@fleetwire/store/reconciliation';
import type { ReconciledEdge, SurplusByCause, Totals } from './reconcile.ts';

/** The result of a reconciliation as a sentence, followed by what makes it uncertain. Missing and surplus readings are named apart. */
export function explain(
  { missing, acknowledgedMissing, inFlight, conflicting }: Totals,
  surplus: SurplusByCause,
  edges: readonly ReconciledEdge[],
  { acceptedOfOthers, unreadable }: Pick<ReconciliationEntries, 'acceptedOfOthers' | 'unreadable'>,
  deviceId: string | undefined,
): string {
  const readings = deviceId === undefined ? 'readings' : `readings of ${deviceId}`;
  const findings = [
    ...(missing > 0
      ? [
          `${missing} ${readings} are missing${acknowledgedMissing > 0 ? `, ${acknowledgedMissing} of them acknowledged` : ''}`,
        ]
      : []),
    ...(surplus.unbalanced > 0 ? [`${surplus.unbalanced} ${readings} are stored that no ingest-ws has received`] : []),
    ...(surplus.incomplete > 0 ? [`${surplus.incomplete} ${readings} are stored that no ingest-ws has reported`] : []),
    ...(inFlight > 0 ? [`${inFlight} ${readings} are in flight`] : []),
    ...(surplus.settling > 0 ? [`${surplus.settling} ${readings} are stored whose report has not arrived yet`] : []),
  ];
  if (findings.length === 0) findings.push(`All ${readings} are accounted for`);
  if (conflicting > 0)
    findings.push(
      `${conflicting} of the duplicates differ from the stored reading of the same device, epoch and seq, and were not stored`,
    );
  return [...findings, ...edges.flatMap(uncertaintiesOf), ...uncertainEntries()].join('; ');

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

function uncertaintiesOf({
  instanceId,
  state,
  lastReportedAt,
  missingReports,
  isAcknowledged,
}: ReconciledEdge): string[] {
  const suffix = isAcknowledged ? ' (acknowledged)' : '';
  return [
    ...(state === 'silent'
      ? [
          `ingest-ws ${instanceId} has not reported since ${new Date(lastReportedAt).toISOString()} and never sent a final report${suffix}`,
        ]
      : []),
    ...missingReports.map(
      ({ from, to }) =>
        `report ${from === to ? from : `${from} to ${to}`} of ingest-ws ${instanceId} is missing${suffix}`,
    ),
  ];
}
