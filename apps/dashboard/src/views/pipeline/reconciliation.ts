import { count, plural } from '../../format.ts';
import { hourAndMinute, timeOfDay } from '../../times.ts';
import type { Report } from './facts.ts';

const minuteMs = 60_000;

export interface Line {
  readonly label: string;
  readonly value: number;
  readonly isResult: boolean;
  readonly warns: boolean;
}

/** received + replayed (+ surplus) = stored + duplicates + rejected + dead-lettered + in flight + missing */
export function equationOf(total: Report['total'], queued: number | undefined): Line[] {
  const line = (label: string, value: number) => ({ label, value, isResult: false, warns: false });
  const openMissing = total.missing - total.acknowledged.missing;
  const openSurplus = total.surplus - total.acknowledged.surplus;
  // Reports that have not arrived yet explain what settles.
  const isExplained = total.state === 'balanced' || total.state === 'settling';
  const inQueue =
    queued === undefined || queued === 0 || total.inFlight === 0
      ? ''
      : `, ${count(Math.min(queued, total.inFlight))} of it queued`;
  return [
    line('Received at the edge', total.received),
    line('Replayed from dead letters', total.replayed),
    { label: 'To account for', value: total.received + total.replayed, isResult: true, warns: false },
    line('Stored', total.stored),
    line(
      total.conflicting === 0 ? 'Duplicates' : `Duplicates, ${count(total.conflicting)} of them differ`,
      total.duplicate,
    ),
    line('Rejected at the edge', total.rejected),
    line('Dead-lettered', total.deadLettered),
    line(`In flight${inQueue}`, total.inFlight),
    {
      label: total.acknowledged.missing > 0 ? `Missing, ${count(total.acknowledged.missing)} acknowledged` : 'Missing',
      value: total.missing,
      isResult: true,
      warns: openMissing > 0 && !isExplained,
    },
    {
      label: total.acknowledged.surplus > 0 ? `Surplus, ${count(total.acknowledged.surplus)} acknowledged` : 'Surplus',
      value: total.surplus,
      isResult: false,
      warns: openSurplus > 0 && !isExplained,
    },
  ];
}

export interface Minute {
  readonly at: number;
  readonly state: Report['data'][number]['state'] | 'none';
}

/** The last 60 minutes, with those that had no readings. */
export function minutesOf(data: Report['data'], now: number): Minute[] {
  const known = new Map(data.map(({ minute, state }) => [Date.parse(minute), state]));
  const last = Math.floor(now / minuteMs) * minuteMs;
  return Array.from({ length: 60 }, (_, index) => {
    const at = last - (59 - index) * minuteMs;
    return { at, state: known.get(at) ?? 'none' };
  });
}

/** `Each of the last 60 minutes: 57 balanced, 2 settling, 14:11 incomplete` */
export function stripText(minutes: readonly Minute[]): string {
  const texts = (['balanced', 'settling', 'incomplete', 'unbalanced', 'none'] as const).flatMap((state) => {
    const those = minutes.filter((minute) => minute.state === state);
    if (those.length === 0) return [];
    if (state === 'none') return [`${those.length} without readings`];
    const named = those.length <= 3 && (state === 'incomplete' || state === 'unbalanced');
    return [`${named ? those.map(({ at }) => hourAndMinute(at)).join(', ') : those.length} ${state}`];
  });
  return `Each of the last 60 minutes: ${texts.join(', ')}`;
}

/** What an acknowledgement would cover. */
export interface Acknowledgeable {
  readonly from: number;
  readonly to: number;
  readonly missing: number;
  readonly surplus: number;
  readonly edges: readonly string[];
}

/** The minutes that no report and no operator has explained, with the instances that stopped. Undefined where there are none. */
export function acknowledgeable({ data, edges }: Report, now: number): Acknowledgeable | undefined {
  const silent = edges.filter(
    ({ state, missingReports, acknowledged }) => !acknowledged && (state === 'silent' || missingReports.length > 0),
  );
  const minutes = data.filter(
    ({ state, missing, surplus, acknowledged }) =>
      state !== 'settling' && (missing > acknowledged.missing || surplus > acknowledged.surplus),
  );
  if (minutes.length === 0 && silent.length === 0) return undefined;
  const times = [
    ...minutes.map(({ minute }) => Date.parse(minute)),
    ...silent.map(({ lastReportedAt }) => Math.floor(Date.parse(lastReportedAt) / minuteMs) * minuteMs),
  ];
  return {
    from: Math.min(...times),
    // An acknowledgement cannot cover what is still to come.
    to: Math.min(Math.max(...times) + minuteMs, now),
    missing: minutes.reduce((sum, { missing, acknowledged }) => sum + missing - acknowledged.missing, 0),
    surplus: minutes.reduce((sum, { surplus, acknowledged }) => sum + surplus - acknowledged.surplus, 0),
    edges: silent.map(
      ({ instanceId, state, lastReportedAt, missingReports }) =>
        `${instanceId}${state === 'silent' ? ` sent its last report at ${timeOfDay(lastReportedAt)}, and no final one` : ''}${
          missingReports.length === 0
            ? ''
            : `${state === 'silent' ? '; ' : ': '}missing ${plural(missingReports.length, 'report', 'reports')} ${missingReports.map(({ from, to }) => (from === to ? from : `${from} to ${to}`)).join(', ')}`
        }.`,
    ),
  };
}
