import { limits } from '@fleetwire/contracts/limits';
import { badRequest, type FieldProblem } from '@fleetwire/runtime/problem';
import Type from 'typebox';

const relative = /^now(?:([+-])(\d{1,6})(s|m|h|d|w))?$/;
const rfc3339 = /^\d{4}-\d{2}-\d{2}(?:[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+ -]\d{2}:\d{2}))?$/;
const epochMs = /^\d{1,15}$/;
const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** The end of the year 9999, the last that RFC 3339 can express. */
export const instantMaxMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** A point in time as a URL parameter. */
export function Instant(description: string) {
  return Type.String({
    minLength: 1,
    maxLength: 40,
    description,
    examples: ['2026-01-31T08:00:00Z', '1769846400000', 'now-6h'],
  });
}

/** In an answer, the range that was searched. */
export const searchedRange = {
  from: Type.String({ format: 'date-time', description: 'Start of the range that was searched, included' }),
  to: Type.String({ format: 'date-time', description: 'End of the range that was searched, excluded' }),
};

/** The forms that {@link parseInstant} reads. */
export const instantForms = 'RFC 3339 (2026-01-31T08:00:00Z), epoch milliseconds, or now-6h (s, m, h, d, w)';

/** Half-open: `from` is included, `to` is not. Epoch milliseconds. */
export interface TimeRange {
  readonly from: number;
  readonly to: number;
}

/**
 * RFC 3339 (a bare date is midnight UTC), epoch milliseconds, or `now` plus or minus seconds, minutes, hours, days or weeks.
 * @returns epoch milliseconds from 1970 to 9999, or undefined when the text has none of these forms
 */
export function parseInstant(text: string, now: number): number | undefined {
  const ms = toEpochMs(text, now);
  return ms >= 0 && ms <= instantMaxMs ? ms : undefined;
}

/** @throws {Problem} 400 that names the field */
export function readInstant(text: string, now: number, field: string): number {
  const instant = parseInstant(text, now);
  if (instant !== undefined) return instant;
  const detail = `is ${JSON.stringify(text)}; expected ${instantForms}`;
  throw badRequest(`${field} is not a time`, [{ field, detail }]);
}

/** NaN when the text has none of the forms. */
function toEpochMs(text: string, now: number): number {
  const [, sign, count, unit] = relative.exec(text) ?? [];
  if (unit !== undefined) return now + (sign === '-' ? -1 : 1) * Number(count) * unitMs[unit as keyof typeof unitMs];
  if (text === 'now') return now;
  if (epochMs.test(text)) return Number(text);
  // In a query string an unescaped "+02:00" arrives as " 02:00".
  return rfc3339.test(text) ? Date.parse(text.replace(' ', '+').toUpperCase()) : Number.NaN;
}

/** Without bounds, all times that a reading may have: from 2000 to as far as a device's clock may run ahead. */
export function parseRange({ from, to }: { readonly from?: string; readonly to?: string }, now: number): TimeRange {
  const range = {
    from: from === undefined ? limits.timestampMinMs : parseInstant(from, now),
    to: to === undefined ? now + limits.clockAheadMaxMs : parseInstant(to, now),
  };
  const errors: FieldProblem[] = [];
  if (range.from === undefined) errors.push(notATime('from', from));
  if (range.to === undefined) errors.push(notATime('to', to));
  if (range.from === undefined || range.to === undefined) throw badRequest('The time range is not valid', errors);
  return requireRange({ from: range.from, to: range.to }, 'query');
}

/** @param where `query` or `body`, for the problem. @throws {Problem} 400 where the range is empty or reversed */
export function requireRange({ from, to }: TimeRange, where: string): TimeRange {
  if (from < to) return { from, to };
  const detail = `is ${isoTime(from)}; it must be before to, which is ${isoTime(to)}`;
  throw badRequest('The time range is empty', [{ field: `${where}.from`, detail }]);
}

/** RFC 3339 in UTC, to the millisecond. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

function notATime(name: string, given: string | undefined): FieldProblem {
  return {
    field: `query.${name}`,
    detail: `is ${JSON.stringify(given)}; expected ${instantForms}`,
  };
}
