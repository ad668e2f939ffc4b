import type { FleetDevice } from './fleet-device.ts';
import type { ClientJournal } from './journal.ts';
import type { RangeSet } from '@fleetwire/contracts/range-set';
import type { LinkStatistics } from './uplink.ts';

/** Totals of a run, in readings unless the name says otherwise. */
export interface Totals {
  readonly devices: number;
  readonly connected: number;
  readonly sent: number;
  readonly acked: number;
  readonly refused: number;
  readonly refusedAsPlanned: number;
  /** Nacked as retryable at least once. */
  readonly postponed: number;
  readonly givenUp: number;
  readonly open: number;
  readonly resent: number;
  readonly duplicates: number;
  readonly badFrames: number;
  readonly frames: number;
  readonly reconnects: number;
  readonly disconnects: Readonly<Record<string, number>>;
  readonly nacks: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly commands: number;
  readonly ackLatencyP50Ms: number;
  readonly ackLatencyP99Ms: number;
  readonly seconds: number;
  readonly ackedPerSecond: number;
}

export interface Source {
  readonly journals: readonly ClientJournal[];
  readonly fleet: readonly FleetDevice[];
  readonly statistics: LinkStatistics;
  readonly startedAt: number;
}

export function totalsOf({ journals, fleet, statistics, startedAt }: Source, now: number): Totals {
  const size = (pick: (journal: ClientJournal) => RangeSet) => sum(journals, (journal) => pick(journal).size);
  const nacks = new Map<string, number>();
  for (const { nacksByCode } of journals)
    for (const [code, count] of nacksByCode) nacks.set(code, (nacks.get(code) ?? 0) + count);
  const seconds = (now - startedAt) / 1_000;
  const acked = size((journal) => journal.acked);
  const { latency } = statistics;
  return {
    devices: journals.length,
    connected: statistics.connected,
    sent: size(({ attempted }) => attempted),
    acked,
    refused: size(({ refused }) => refused),
    refusedAsPlanned: sum(
      fleet,
      ({ client, plannedRefusals }) => plannedRefusals.size - plannedRefusals.minus(client.journal.refused).size,
    ),
    postponed: size(({ postponed }) => postponed),
    givenUp: size(({ givenUp }) => givenUp),
    open: size(({ open }) => open),
    resent: sum(journals, ({ resentReadings }) => resentReadings),
    duplicates: sum(fleet, ({ duplicateReadings }) => duplicateReadings),
    badFrames: sum(fleet, ({ badFrames }) => badFrames),
    frames: sum(journals, ({ framesSent }) => framesSent),
    reconnects: Math.max(0, statistics.connects - journals.length),
    disconnects: Object.fromEntries(statistics.disconnects),
    nacks: Object.fromEntries(nacks),
    errors: Object.fromEntries(statistics.errors),
    commands: statistics.commands,
    ackLatencyP50Ms: latency.count === 0 ? 0 : latency.percentile(50) / 1_000,
    ackLatencyP99Ms: latency.count === 0 ? 0 : latency.percentile(99) / 1_000,
    seconds,
    ackedPerSecond: acked / seconds,
  };
}

/** One sentence per problem; empty when every reading was acked, or refused as planned. */
export function problemsOf({ journals, fleet, statistics }: Source): string[] {
  const planned = new Map(fleet.map(({ client, plannedRefusals }) => [client.journal, plannedRefusals]));
  const found: string[] = [];
  for (const journal of journals) {
    const name = `${journal.deviceId} (epoch ${journal.epoch})`;
    const expected = planned.get(journal);
    const unexpected = expected === undefined ? journal.refused : journal.refused.minus(expected);
    const slipped = expected?.minus(journal.refused).minus(journal.givenUp);
    if (journal.givenUp.size > 0) found.push(`${name}: ${journal.givenUp.size} given up: ${journal.givenUp}`);
    if (journal.open.size > 0) found.push(`${name}: ${journal.open.size} unanswered: ${journal.open}`);
    if (unexpected.size > 0)
      found.push(`${name}: ${unexpected.size} refused: ${unexpected} (${[...journal.nacksByCode.keys()].join(', ')})`);
    if (slipped !== undefined && slipped.size > 0)
      found.push(`${name}: ${slipped.size} bad readings were not refused: ${slipped}`);
  }
  for (const { client } of fleet)
    if (client.failure !== undefined) found.push(`${client.journal.deviceId}: ${client.failure.message}`);
  if (journals.length > 0 && statistics.connects === 0)
    found.push(`no connection: ${[...statistics.disconnects.keys()].join(', ') || 'no answer'}`);
  return found;
}

/** One line of progress; the rate is that since `before`. */
export function progressLine(totals: Totals, before: Totals | undefined): string {
  const seconds = totals.seconds - (before?.seconds ?? 0);
  const rate = (totals.acked - (before?.acked ?? 0)) / seconds;
  const parts = [
    `${totals.seconds.toFixed(0).padStart(4)} s`,
    `${totals.connected}/${totals.devices} connected`,
    `sent ${whole(totals.sent)}`,
    `acked ${whole(totals.acked)} (${whole(rate)}/s)`,
    `refused ${whole(totals.refused)}`,
    `postponed ${whole(totals.postponed)}`,
    `resent ${whole(totals.resent)}`,
    `reconnects ${whole(totals.reconnects)}`,
    `ack p50 ${milliseconds(totals.ackLatencyP50Ms)} p99 ${milliseconds(totals.ackLatencyP99Ms)}`,
  ];
  return parts.join('  ');
}

export function table(totals: Totals): string {
  const rows: [string, string][] = [
    ['devices', whole(totals.devices)],
    ['readings sent', whole(totals.sent)],
    ['  acked', whole(totals.acked)],
    [
      '  refused',
      totals.refused === 0 ? '0' : `${whole(totals.refused)} (${whole(totals.refusedAsPlanned)} as planned)`,
    ],
    ['  given up', whole(totals.givenUp)],
    ['  unanswered', whole(totals.open)],
    ['nacked as retryable', whole(totals.postponed)],
    ['resent', whole(totals.resent)],
    ['deliberate duplicates', whole(totals.duplicates)],
    ['deliberately bad frames', whole(totals.badFrames)],
    ['nacks by code', counts(totals.nacks)],
    ['errors by code', counts(totals.errors)],
    ['commands', whole(totals.commands)],
    ['frames', whole(totals.frames)],
    ['reconnects', whole(totals.reconnects)],
    ['disconnects by code', counts(totals.disconnects)],
    ['time', `${totals.seconds.toFixed(1)} s`],
    ['acked per second', whole(totals.ackedPerSecond)],
    ['ack latency p50 / p99', `${milliseconds(totals.ackLatencyP50Ms)} / ${milliseconds(totals.ackLatencyP99Ms)}`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function sum<T>(list: readonly T[], pick: (item: T) => number): number {
  return list.reduce((total, item) => total + pick(item), 0);
}

function counts(byName: Readonly<Record<string, number>>): string {
  return (
    Object.entries(byName)
      .map(([name, count]) => `${name} ${whole(count)}`)
      .join(', ') || '-'
  );
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}
