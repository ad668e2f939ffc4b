import { limits } from './limits.ts';
import { type Parsed, accepted, refused } from './validation-issue.ts';

const rfc3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;

/**
 * Parses a device's `ts`: epoch milliseconds, or RFC 3339 with an offset. Fractions of a millisecond are cut off.
 * @returns epoch milliseconds (integer), between 2000 and one day ahead of `now`
 */
export function parseTimestamp(value: unknown, now: number): Parsed<number> {
  const epochMs =
    typeof value === 'number' ? Math.floor(value) : typeof value === 'string' ? parseRfc3339(value) : undefined;
  if (epochMs === undefined)
    return refused('wrong-type', 'ts', 'must be epoch milliseconds (number) or RFC 3339 with an offset (string)');
  if (!Number.isFinite(epochMs)) return refused('not-finite', 'ts', 'is not a finite number or an existing date');
  if (epochMs < limits.timestampMinMs) return refused('timestamp-out-of-range', 'ts', tooOld(epochMs));
  if (epochMs > now + limits.clockAheadMaxMs) {
    return refused(
      'timestamp-out-of-range',
      'ts',
      `is more than ${limits.clockAheadMaxMs} ms ahead of the server (clockAheadMaxMs)`,
    );
  }
  return accepted(epochMs);
}

function parseRfc3339(text: string): number | undefined {
  return rfc3339.test(text) ? Date.parse(text.replace(' ', 'T').toUpperCase()) : undefined;
}

function tooOld(epochMs: number): string {
  const asSeconds = epochMs * 1_000;
  const hint =
    asSeconds >= limits.timestampMinMs && asSeconds < 8.64e15 ? '; it looks like seconds, send milliseconds' : '';
  return `is before ${new Date(limits.timestampMinMs).toISOString()} (timestampMinMs)${hint}`;
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `250ms`, `30s`, `5m`, `1.5h`, `30d`; a bare number is seconds. @returns milliseconds, or undefined for any other text */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  return match === null ? undefined : Number(match[1]) * unitMs[match[2] ?? 's']!;
}
