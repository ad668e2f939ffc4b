const dayMs = 24 * 60 * 60 * 1_000;
const weekMs = 7 * dayMs;
/** 1969-12-29, the Monday before the epoch, in UTC. */
const mondayMs = -3 * dayMs;

/** A week from Monday to Monday, in UTC: half-open, epoch milliseconds. */
export interface Week {
  /** ISO 8601 year and week: `2026w47`. */
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** The start of the week that contains `epochMs`. */
export function weekStart(epochMs: number): number {
  return Math.floor((epochMs - mondayMs) / weekMs) * weekMs + mondayMs;
}

export function weekOf(epochMs: number): Week {
  const from = weekStart(epochMs);
  // A week belongs to the year of its Thursday.
  const thursday = from + 3 * dayMs;
  const year = new Date(thursday).getUTCFullYear();
  const number = Math.floor((thursday - Date.UTC(year, 0, 1)) / weekMs) + 1;
  return { name: `${year}w${String(number).padStart(2, '0')}`, from, to: from + weekMs };
}

/** The week of that name; undefined if the name is not valid. */
export function parseWeek(name: string): Week | undefined {
  const match = /^(\d{4})w(\d{2})$/.exec(name);
  if (match === null) return undefined;
  // 4 January is always in the first week.
  const week = weekOf(Date.UTC(Number(match[1]), 0, 4) + (Number(match[2]) - 1) * weekMs);
  return week.name === name ? week : undefined;
}

/** The week of `epochMs` and the `count` weeks after it. */
export function weeksFrom(epochMs: number, count: number): Week[] {
  return Array.from({ length: count + 1 }, (_, index) => weekOf(epochMs + index * weekMs));
}
