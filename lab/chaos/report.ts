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
    `Devices: ${n(fleet.frames)} frames in ${n(fleet.connects)} connections, ${n(fleet.resent)} readings sent again, ${n(fleet.repeated)} sent twice on purpose, ${n(fleet.badFrames)} bad frames; ack after ${fleet.ackMsP50.toFixed(0)} ms p50, ${fleet.ackMsP99.toFixed(0)} ms p99, ${fleet.ackMsMax.toFixed(0)} ms at most`,
    `Nacked readings: ${counts(fleet.nacks)}. Errors: ${counts(fleet.errors)}. Disconnects: ${counts(fleet.disconnects)}`,
    '',
    `Accounting of readings: ${n(accounting.attempted)} attempted = ${n(accounting.stored)} stored + ${n(accounting.deadLettered)} dead-lettered + ${n(accounting.refused)} refused + ${n(accounting.neverAcked)} never acknowledged, not stored + ${n(accounting.lost)} lost`,
    `Counters of the services (a lower bound where a process was killed): ${counts(counters)}`,
    ...(reconciliation === undefined
      ? []
      : [
          `Reconciliation report of the platform (${reconciliation.state}): ${n(reconciliation.received)} received = ${n(reconciliation.stored)} stored + ${n(reconciliation.duplicate)} duplicate + ${n(reconciliation.rejected)} rejected + ${n(reconciliation.deadLettered)} dead-lettered + ${n(reconciliation.inFlight)} in flight; ${n(reconciliation.missing)} missing, ${n(reconciliation.surplus)} surplus`,
        ]),
    `Compared with what was sent: the stored content of ${n(report.contentsCompared)} readings; history, gaps and latest state of ${n(report.answers?.devices ?? 0)} devices with ${n(report.answers?.readings ?? 0)} readings.`,
    `Queues empty ${report.drainSeconds.toFixed(1)} s after the last fault was healed.`,
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

function counts(by: Readonly<Record<string, number>>): string {
  const texts = Object.entries(by).map(([name, count]) => `${name} ${n(count)}`);
  return texts.join(', ') || 'none';
}

function n(count: number): string {
  return count.toLocaleString('en-US');
}
