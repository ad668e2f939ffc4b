import { parseWeek, weekOf, weekStart } from './weeks.ts';

const dayMs = 24 * 60 * 60 * 1_000;

/** The device times of one partition: half-open, epoch milliseconds, from midnight to midnight in UTC. */
export interface Period {
  /** `2026w47` for a whole week, else its first day and the day after its last: `20100101_20100401`. */
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** This many weeks before the current one have partitions of their own, as all later ones do; what is older is stored by quarter. */
const weeksBehind = 12;

/** The device time from which partitions are weeks; before it they are quarters. */
export function weeklyFrom(now: number): number {
  return weekStart(now) - weeksBehind * 7 * dayMs;
}

/**
 * The period of a new partition for readings of this device time: its week or its quarter, without what `existing` periods cover already.
 * So at most as many partitions are ever created for past readings as there are quarters and gaps between partitions that exist.
 * @param existing none of them contains `epochMs`
 */
export function newPeriod(epochMs: number, now: number, existing: readonly Period[]): Period {
  const boundary = weeklyFrom(now);
  let { from, to } = epochMs >= boundary ? weekOf(epochMs) : quarterOf(epochMs);
  if (epochMs < boundary) to = Math.min(to, boundary);
  for (const period of existing) {
    if (period.to <= epochMs) from = Math.max(from, period.to);
    else to = Math.min(to, period.from);
  }
  return periodBetween(from, to);
}

/** The period of that name; undefined if the name is not valid. */
export function parsePeriod(name: string): Period | undefined {
  const match = /^(\d{4})(\d{2})(\d{2})_(\d{4})(\d{2})(\d{2})$/.exec(name);
  if (match === null) return parseWeek(name);
  const [, fromYear, fromMonth, fromDay, toYear, toMonth, toDay] = match.map(Number);
  const from = Date.UTC(fromYear!, fromMonth! - 1, fromDay);
  const to = Date.UTC(toYear!, toMonth! - 1, toDay);
  return from < to && dateName(from, to) === name ? { name, from, to } : undefined;
}

/** The period among these, sorted by time, that contains a device time. */
export function periodAt(periods: readonly Period[], epochMs: number): Period | undefined {
  let low = 0;
  let high = periods.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (periods[middle]!.to <= epochMs) low = middle + 1;
    else high = middle;
  }
  const period = periods[low];
  return period !== undefined && period.from <= epochMs ? period : undefined;
}

function quarterOf(epochMs: number): { from: number; to: number } {
  const date = new Date(epochMs);
  const year = date.getUTCFullYear();
  const month = Math.floor(date.getUTCMonth() / 3) * 3;
  return { from: Date.UTC(year, month), to: Date.UTC(year, month + 3) };
}

function periodBetween(from: number, to: number): Period {
  const week = weekOf(from);
  return week.from === from && week.to === to ? week : { name: dateName(from, to), from, to };
}

function dateName(from: number, to: number): string {
  const [first, end] = [from, to].map((at) => new Date(at).toISOString().slice(0, 10).replaceAll('-', ''));
  return `${first}_${end}`;
}
