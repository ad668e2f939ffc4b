import { table } from '../fleet/report.ts';
import type { ChaosReport } from './chaos.ts';

/** The fleet's journals, the accounting and the verdict as text. The timeline was printed while the faults were injected. */
export function reportText(report: ChaosReport): string {
  const { accounting, breaches, timeline, fleet, counters, reconciliation, deadLetters, notRun } = report;
  const injected = Map.groupBy(timeline, ({ fault }) => fault);
  const lines = [
    `Seed ${report.seed} on ${report.backing}: ${timeline.length} injections of ${injected.size} faults${
      notRun.length === 0 ? '' : `; not available here: ${notRun.join(', ')}`
    }`,
    '',
    table(fleet),
    '',
    `Accounting of readings: ${n(accounting.attempted)} attempted = ${n(accounting.stored)} stored + ${n(accounting.deadLettered)} dead-lettered + ${n(accounting.refused)} refused + ${n(accounting.neverAcked)} never acknowledged, not stored + ${n(accounting.lost)} lost`,
    `Counters of the services (a lower bound where a process was killed): ${
      Object.entries(counters)
        .map(([name, count]) => `${name} ${n(count)}`)
        .join(', ') || 'none'
    }`,
    ...(reconciliation === undefined
      ? []
      : [
          `Reconciliation report of the platform (${reconciliation.state}): ${n(reconciliation.received)} received = ${n(reconciliation.stored)} stored + ${n(reconciliation.duplicate)} duplicate + ${n(reconciliation.rejected)} rejected + ${n(reconciliation.deadLettered)} dead-lettered + ${n(reconciliation.inFlight)} in flight; ${n(reconciliation.missing)} missing, ${n(reconciliation.surplus)} surplus`,
        ]),
    `Content compared: ${n(report.samplesCompared)} readings. Queues empty ${report.drainSeconds.toFixed(1)} s after the last fault was healed.`,
    ...deadLetters.map(({ reason, error, count }) => `Dead letters: ${n(count)} ${reason} (${error})`),
    '',
  ];
  if (breaches.length === 0)
    return [...lines, 'Verdict: no acknowledged reading was lost, and every reading is accounted for.'].join('\n');
  for (const { rule, readings, identities } of breaches) {
    lines.push(`BREACH: ${rule}${readings === 0 ? '' : ` (${n(readings)} readings)`}`);
    for (const identity of identities) lines.push(`  ${identity}`);
  }
  return [...lines, `Verdict: ${breaches.length} breaches. The logs of the services are in ${report.logDir}`].join(
    '\n',
  );
}

function n(count: number): string {
  return count.toLocaleString('en-US');
}
