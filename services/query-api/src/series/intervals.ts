import { Temporal } from 'temporal-polyfill';
import type { TimeRange } from '../time-range.ts';

type Unit = 's' | 'm' | 'h' | 'd' | 'w' | 'mo' | 'y';

/** The length of a bucket: fixed, or a unit of the calendar of a time zone. */
export interface Interval {
  readonly text: string;
  readonly count: number;
  readonly unit: Unit;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const unitMs: Record<Unit, number> = {
  s: 1_000,
  m: 60_000,
  h: hourMs,
  d: dayMs,
  w: 7 * dayMs,
  mo: 28 * dayMs,
  y: 365 * dayMs,
};

/** The intervals that `maxPoints` chooses from, and that a question which is too expensive is pointed to. */
export const commonIntervals: readonly Interval[] = '1s 5s 10s 15s 30s 1m 2m 5m 10m 15m 30m 1h 2h 3h 6h 12h 1d 1w 1mo'
  .split(' ')
  .map((text) => parseInterval(text)!);

export const intervalForms = 'a number of s, m or h (10s, 5m, 6h; at most 24h), 1d, 1w, 1mo, 2mo, 3mo, 4mo, 6mo or 1y';

/** @returns undefined for a text of no accepted form */
export function parseInterval(text: string): Interval | undefined {
  const [, digits, unit] = /^([1-9]\d{0,4})(s|m|h|d|w|mo|y)$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const interval = { text, count: Number(digits), unit: unit as Unit };
  const isAllowed = {
    s: true,
    m: true,
    h: interval.count <= 24,
    d: interval.count === 1,
    w: interval.count === 1,
    mo: 12 % interval.count === 0 && interval.count < 12,
    y: interval.count === 1,
  }[interval.unit];
  return isAllowed ? interval : undefined;
}

/** The shortest that a bucket usually is. */
export function lengthMs({ count, unit }: Interval): number {
  return count * unitMs[unit];
}

/** The name of a zone in the IANA database. */
export function isTimeZone(name: string): boolean {
  // To make a format of a zone takes longer than the rest of reading a question.
  if (name === 'UTC') return true;
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(name)) return false;
  try {
    return Intl.DateTimeFormat('en', { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}

/** The start of a day, such as `2026-10-25`, in a zone; undefined where there is no such day. */
export function startOfDate(text: string, timeZone: string): number | undefined {
  try {
    return midnight(Temporal.PlainDate.from(text), timeZone);
  } catch {
    return undefined;
  }
}

/** The smallest of the common intervals that cuts the range into at most so many buckets. */
export function intervalFor(range: TimeRange, timeZone: string, bucketsMax: number): Interval | undefined {
  return commonIntervals.find(
    (interval) =>
      (range.to - range.from) / lengthMs(interval) <= 2 * bucketsMax &&
      bucketEdges(range, interval, timeZone).length - 1 <= bucketsMax,
  );
}

/**
 * Where the buckets of the range begin, and the last one ends: the first begins at or before `from`, the last ends at or after `to`.
 * Seconds, minutes and `1h` are aligned to UTC. Other hours begin at each midnight of the zone; days, weeks (from Monday), months and years
 * are those of its calendar. A local time that a change of the clock skips is the moment of the change; of one that comes twice it is the
 * first.
 */
export function bucketEdges({ from, to }: TimeRange, interval: Interval, timeZone: string): number[] {
  const fixed = fixedLength(interval, timeZone);
  const edges: number[] = [];
  const starts = fixed === undefined ? calendarStarts(from, interval, timeZone) : fixedStarts(from, fixed);
  for (const start of starts) {
    if (start <= from) edges.length = 0;
    // A day that the zone skips has the start of the next one.
    if (start !== edges.at(-1)) edges.push(start);
    if (start >= to) return edges;
  }
  return edges;
}

interface FixedLength {
  readonly ms: number;
  readonly anchor: number;
}

function fixedLength({ count, unit }: Interval, timeZone: string): FixedLength | undefined {
  const ms = count * unitMs[unit];
  if (unit === 's' || unit === 'm' || (unit === 'h' && count === 1)) return { ms, anchor: 0 };
  if (timeZone !== 'UTC') return undefined;
  if (unit === 'd' || (unit === 'h' && 24 % count === 0)) return { ms, anchor: 0 };
  return unit === 'w' ? { ms, anchor: Date.UTC(1970, 0, 5) } : undefined;
}

function* fixedStarts(from: number, { ms, anchor }: FixedLength): Generator<number> {
  for (let start = anchor + Math.floor((from - anchor) / ms) * ms; ; start += ms) yield start;
}

function* calendarStarts(from: number, { count, unit }: Interval, timeZone: string): Generator<number> {
  const date = Temporal.Instant.fromEpochMilliseconds(from).toZonedDateTimeISO(timeZone).toPlainDate();
  if (unit === 'h') {
    for (let day = date; ; day = day.add({ days: 1 }))
      for (let hour = 0; hour < 24; hour += count)
        yield hour === 0
          ? midnight(day, timeZone)
          : day.toPlainDateTime({ hour }).toZonedDateTime(timeZone).epochMilliseconds;
  }
  const first = {
    d: date,
    w: date.subtract({ days: date.dayOfWeek - 1 }),
    mo: date.with({ day: 1, month: date.month - ((date.month - 1) % count) }),
    y: date.with({ day: 1, month: 1 }),
  }[unit as 'd' | 'w' | 'mo' | 'y'];
  const step = { d: { days: 1 }, w: { weeks: 1 }, mo: { months: count }, y: { years: 1 } }[
    unit as 'd' | 'w' | 'mo' | 'y'
  ];
  for (let day = first; ; day = day.add(step)) yield midnight(day, timeZone);
}

/** The same local time an offset earlier: seconds, minutes and hours are lengths, days and more are those of the calendar. */
export function shiftedBack(time: number, { count, unit }: Interval, timeZone: string): number {
  if (unit === 's' || unit === 'm' || unit === 'h') return Math.max(0, time - count * unitMs[unit]);
  const length = { d: { days: count }, w: { weeks: count }, mo: { months: count }, y: { years: count } }[unit];
  const local = Temporal.Instant.fromEpochMilliseconds(time).toZonedDateTimeISO(timeZone);
  return Math.max(0, local.subtract(length).epochMilliseconds);
}

export const offsetForms = 'a number of s, m, h, d, w, mo or y (7d, 1mo), at most 10 years';

/** How far back a question is compared. @returns undefined for a text of no accepted form */
export function parseOffset(text: string): Interval | undefined {
  const [, digits, unit] = /^([1-9]\d{0,9})(s|m|h|d|w|mo|y)$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const offset = { text, count: Number(digits), unit: unit as Unit };
  return lengthMs(offset) <= 10 * unitMs.y ? offset : undefined;
}

function midnight(day: Temporal.PlainDate, timeZone: string): number {
  return day.toZonedDateTime(timeZone).epochMilliseconds;
}
