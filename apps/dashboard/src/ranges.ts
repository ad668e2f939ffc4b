/** A range of time as the viewer has typed it: `now-3h` to `now`, `now-1d/d` to `now/d`, or dates. The server understands the same texts. */
export interface TypedRange {
  readonly from: string;
  readonly to: string;
}

export interface Range {
  readonly from: number;
  readonly to: number;
}

export const presets: readonly (TypedRange & { readonly label: string })[] = [
  { label: '15 min', from: 'now-15m', to: 'now' },
  { label: '1 h', from: 'now-1h', to: 'now' },
  { label: '3 h', from: 'now-3h', to: 'now' },
  { label: '24 h', from: 'now-24h', to: 'now' },
  { label: '7 d', from: 'now-7d', to: 'now' },
];

const sizes = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
const relative = /^now(?:([+-])(\d{1,6})([smhdw]))?(?:\/([smhdw]))?$/;
const allowed = 'allowed are now, now-6h (s, m, h, d, w), now-1d/d, and dates like 2026-11-21 or 2026-11-21T14:00:00Z';

export type Resolved =
  | { readonly range: Range }
  | { readonly error: { readonly field: 'from' | 'to'; readonly text: string } };

/** @param now in milliseconds; @param timeZoneOffsetMs of local midnight, for dates and for `/d` */
export function resolveRange({ from, to }: TypedRange, now: number, timeZoneOffsetMs = 0): Resolved {
  const start = resolveTime(from, now, timeZoneOffsetMs);
  if (start === undefined) return { error: { field: 'from', text: `${quoted(from)} is not a time: ${allowed}` } };
  const end = resolveTime(to, now, timeZoneOffsetMs);
  if (end === undefined) return { error: { field: 'to', text: `${quoted(to)} is not a time: ${allowed}` } };
  if (end <= start) return { error: { field: 'to', text: `${quoted(to)} is not after ${quoted(from)}` } };
  return { range: { from: start, to: end } };
}

export function resolveTime(text: string, now: number, timeZoneOffsetMs = 0): number | undefined {
  const trimmed = text.trim();
  const parts = relative.exec(trimmed);
  if (parts !== null) {
    const [, sign, amount, unit, floor] = parts;
    const shift = unit === undefined ? 0 : Number(amount) * sizes[unit as keyof typeof sizes];
    const moved = sign === '-' ? now - shift : now + shift;
    return floor === undefined ? moved : floorTo(moved, floor as keyof typeof sizes, timeZoneOffsetMs);
  }
  if (!/^\d{4}-\d{2}-\d{2}/.test(trimmed)) return undefined;
  if (/^\d{4}-\d{2}-\d{2}$/.test(trimmed)) {
    const midnight = Date.parse(`${trimmed}T00:00:00Z`);
    return Number.isNaN(midnight) ? undefined : midnight - timeZoneOffsetMs;
  }
  const time = Date.parse(/(Z|[+-]\d{2}:?\d{2})$/i.test(trimmed) ? trimmed : `${trimmed}Z`);
  if (Number.isNaN(time)) return undefined;
  return /(Z|[+-]\d{2}:?\d{2})$/i.test(trimmed) ? time : time - timeZoneOffsetMs;
}

/** Does the range end now, and move on with the time? */
export function isLive({ to }: TypedRange): boolean {
  return to.trim() === 'now';
}

function floorTo(time: number, unit: keyof typeof sizes, offsetMs: number): number {
  // Weeks begin on Monday; the epoch was a Thursday.
  const shift = offsetMs + (unit === 'w' ? 3 * sizes.d : 0);
  return Math.floor((time + shift) / sizes[unit]) * sizes[unit] - shift;
}

function quoted(text: string): string {
  return `"${text.trim()}"`;
}
