import type { ComparedAnswers } from './answers.ts';
import type { Accounting, Breach } from './audit.ts';
import type { CommandFigures } from './audit-commands.ts';
import type { CommandOperator } from './command-operator.ts';
import type { Counters } from './counters.ts';
import type { Recovery } from './recovery.ts';
import type { Reconciliation } from './reconciliation.ts';
import type { TimelineEntry } from './timeline.ts';

export interface ChaosReport {
  readonly seed: number;
  readonly backing: string;
  readonly notRun: readonly string[];
  readonly timeline: readonly TimelineEntry[];
  readonly fleet: FleetFigures;
  readonly accounting: Accounting;
  readonly counters: Counters;
  /** The platform's own report on the same readings; undefined where it could not be read. */
  readonly reconciliation: Reconciliation | undefined;
  readonly deadLetters: readonly { readonly reason: string; readonly error: string; readonly count: number }[];
  /** Jobs that replayed dead letters; undefined where they did not end. */
  readonly replays: number | undefined;
  /** Readings whose stored content was compared with what was sent. */
  readonly contentsCompared: number;
  /** History, gaps and latest state as query-api answers them; undefined where it did not answer. */
  readonly answers: Omit<ComparedAnswers, 'breaches'> | undefined;
  /** What each subscriber was sent, over how many subscriptions. */
  readonly watched: readonly { readonly readings: number; readonly subscriptions: number }[];
  /** Undefined where they could not be read. */
  readonly commands: (CommandFigures & CommandOperator['repeated']) | undefined;
  /** From the last fault healed until every queue is empty. */
  readonly drainSeconds: number;
  readonly longestRecovery: Recovery | undefined;
  /** Durations of the parts of the run, in seconds. */
  readonly phases: Readonly<Record<string, number>>;
  readonly breaches: readonly Breach[];
  /** Kept if there is a breach. */
  readonly logDir: string;
}

/** What the devices saw. */
export interface FleetFigures {
  readonly frames: number;
  readonly resent: number;
  /** Sent twice on purpose. */
  readonly repeated: number;
  readonly badFrames: number;
  readonly connects: number;
  readonly nacks: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly disconnects: Readonly<Record<string, number>>;
  readonly ackMsP50: number;
  readonly ackMsP99: number;
  readonly ackMsMax: number;
}

/** Begins the line of a breach. */
export const breachMark = 'BREACH: ';

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
    `Subscribers were sent ${report.watched.map(({ readings, subscriptions }) => `${n(readings)} readings over ${n(subscriptions)} subscriptions`).join(', ')}.`,
    ...(report.commands === undefined ? [] : [commandsText(report.commands)]),
    `Longest recovery: ${report.longestRecovery === undefined ? 'none seen' : `${report.longestRecovery.seconds.toFixed(1)} s after ${report.longestRecovery.fault}`}. Seconds: ${Object.entries(
      report.phases,
    )
      .map(([phase, seconds]) => `${phase} ${seconds.toFixed(1)}`)
      .join(', ')}`,
    `Queues empty ${report.drainSeconds.toFixed(1)} s after the last fault was healed.`,
    ...deadLetters.map(({ reason, error, count }) => `Dead letters: ${n(count)} ${reason} (${error})`),
    `Replays: ${n(report.replays ?? 0)} jobs over the API; ${n(accounting.replayed)} of the stored readings were dead letters before.`,
    '',
  ];
  if (breaches.length === 0)
    return [...lines, 'Verdict: no acknowledged reading was lost, and every reading is accounted for.'].join('\n');
  for (const { rule, readings, identities } of breaches) {
    lines.push(`${breachMark}${rule}${readings === 0 ? '' : ` (${n(readings)} readings)`}`);
    for (const identity of identities) lines.push(`  ${identity}`);
  }
  return [...lines, `Verdict: ${breaches.length} breaches. The logs of the services are in ${report.logDir}`].join(
    '\n',
  );
}

function commandsText(commands: NonNullable<ChaosReport['commands']>): string {
  const { states, deliveredAgain, unanswered, lateResults, calls, waits } = commands;
  return [
    `Commands: ${counts(states)}.`,
    `${n(deliveredAgain)} reached their device more than once, ${n(unanswered)} reached it and ended without its answer, ${n(lateResults)} were answered late.`,
    `${n(calls)} calls had no answer and were repeated, ${n(waits)} of them while they waited for the end.`,
  ].join(' ');
}

function counts(by: Readonly<Record<string, number>>): string {
  const texts = Object.entries(by).map(([name, count]) => `${name} ${n(count)}`);
  return texts.join(', ') || 'none';
}

function n(count: number): string {
  return count.toLocaleString('en-US');
}
