import { table } from '../fleet/report.ts';
import type { ChaosReport } from './chaos.ts';

/** The ledger and the verdict, for people. The timeline was printed as it happened. */
export function reportText(report: ChaosReport): string {
  const { books, breaches, timeline, fleet, counters, ownBooks, deadLetters, notRun } = report;
  const injected = Map.groupBy(timeline, ({ fault }) => fault);
  const lines = [
    `Seed ${report.seed} on ${report.backing}: ${timeline.length} injections of ${injected.size} faults${
      notRun.length === 0 ? '' : `; not run here: ${notRun.join(', ')}`
    }`,
    '',
    table(fleet),
    '',
    `Books, by identity: ${n(books.attempted)} attempted = ${n(books.stored)} stored + ${n(books.deadLettered)} dead-lettered + ${n(books.refused)} refused + ${n(books.neverAcked)} never acknowledged and not kept + ${n(books.lost)} lost`,
    `Counted by the services, as far as their counters outlived the kills: ${
      Object.entries(counters)
        .map(([name, count]) => `${name} ${n(count)}`)
        .join(', ') || 'nothing'
    }`,
    ...(ownBooks === undefined
      ? []
      : [
          `The platform's own ledger (${ownBooks.state}): ${n(ownBooks.received)} received = ${n(ownBooks.stored)} stored + ${n(ownBooks.duplicate)} duplicate + ${n(ownBooks.rejected)} rejected + ${n(ownBooks.deadLettered)} dead-lettered + ${n(ownBooks.inFlight)} in flight; difference ${n(ownBooks.difference)}`,
        ]),
    `Content compared: ${n(report.samplesCompared)} readings. At rest ${report.drainSeconds.toFixed(1)} s after the last fault was healed.`,
    ...deadLetters.map(({ reason, error, count }) => `Dead letters: ${n(count)} ${reason} (${error})`),
    '',
  ];
  if (breaches.length === 0)
    return [...lines, 'Verdict: nothing acknowledged was lost, and the books balance.'].join('\n');
  for (const { rule, readings, identities } of breaches) {
    lines.push(`BREACH: ${rule}${readings === 0 ? '' : ` (${n(readings)} readings)`}`);
    for (const identity of identities) lines.push(`  ${identity}`);
  }
  return [...lines, `Verdict: ${breaches.length} breaches. The services' logs are in ${report.logDir}`].join('\n');
}

function n(count: number): string {
  return count.toLocaleString('en-US');
}
