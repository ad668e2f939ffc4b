import { asName } from '../fleet/device-rows.ts';
import { count, plural } from '../../format.ts';

/** A state over a time, as a band shows it. */
export interface Segment {
  readonly from: number;
  readonly to: number;
  readonly text: string;
  /** Stands there where the text does not fit. */
  readonly short?: string;
  readonly look: 'on' | 'plain' | 'marked' | 'faint' | 'hole' | 'late';
}

export interface Band {
  readonly id: string;
  readonly label: string;
  readonly segments: readonly Segment[];
  /** Where there are more changes than can be shown. */
  readonly note?: string | undefined;
}

/** Above it a band shows density instead of changes. */
const changesMax = 200;
const offlineShownMax = 4;

interface Connection {
  readonly edge: string;
  readonly epoch: string;
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly reason: string | null;
}

/**
 * When the device was connected, and to which edge; between, why the connection ended.
 * @param nameOf the name of an edge
 */
export function presenceBand(
  connections: readonly Connection[],
  from: number,
  to: number,
  nameOf: (edge: string) => string = edgeName,
): Band {
  const ordered = connections
    .map(({ startedAt, endedAt, edge, reason }) => ({
      start: Date.parse(startedAt),
      end: endedAt === null ? to : Date.parse(endedAt),
      edge,
      reason,
    }))
    .filter(({ start, end }) => end > from && start < to)
    .toSorted((a, b) => a.start - b.start);
  const segments: Segment[] = [];
  let before: (typeof ordered)[number] | undefined;
  for (const one of ordered) {
    const gapFrom = before === undefined ? from : before.end;
    const isFirst = before === undefined;
    if (one.start > gapFrom)
      segments.push({
        from: Math.max(from, gapFrom),
        to: one.start,
        ...(isFirst ? { text: '' } : offline(before!.reason)),
        look: 'faint',
      });
    const isOther = before === undefined || before.edge !== one.edge;
    segments.push({
      from: Math.max(from, one.start),
      to: Math.min(to, one.end),
      ...(isOther ? { text: `online on ${nameOf(one.edge)}`, short: 'online' } : { text: 'online' }),
      look: 'on',
    });
    before = before !== undefined && before.end > one.end ? before : one;
  }
  if (before !== undefined && before.end < to)
    segments.push({
      from: before.end,
      to,
      ...offline(before.reason),
      look: 'faint',
    });
  return limited({ id: 'presence', label: 'presence', segments });
}

const offline = (reason: string | null): Pick<Segment, 'text' | 'short'> =>
  reason === null ? { text: 'offline' } : { text: `offline, ${reason.replaceAll('-', ' ')}`, short: 'offline' };

/** An instance has a long name of its own where none was configured. */
export function edgeName(edge: string): string {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-/.test(edge) ? edge.slice(0, 8) : edge;
}

/** Boots of the device: from the first to the next epoch. */
export function bootBand(connections: readonly Connection[], from: number, to: number): Band {
  const ordered = connections.toSorted((a, b) => Date.parse(a.startedAt) - Date.parse(b.startedAt));
  const segments: Segment[] = [];
  for (const { epoch, startedAt } of ordered) {
    const start = Date.parse(startedAt);
    const last = segments.at(-1);
    if (last?.text === epoch || start >= to) continue;
    if (last !== undefined) segments[segments.length - 1] = { ...last, to: start };
    segments.push({ from: start, to, text: epoch, look: 'plain' });
  }
  return limited({
    id: 'boot',
    label: 'boot',
    segments: segments.filter((one) => one.to > from).map((one) => ({ ...one, from: Math.max(from, one.from) })),
  });
}

/** What the aggregate `state` says of a bucket: time in each value, the longest first. */
type StateBucket =
  | readonly ({ readonly value: unknown; readonly ms: number } | { readonly other: true; readonly ms: number })[]
  | null;

/**
 * The longest state of each bucket, joined where it is the same. The value that is most of the time stays plain, the others are marked.
 * @param now the state that is now, to the end of the range
 */
export function stateBand(
  metric: string,
  t: readonly number[],
  buckets: readonly StateBucket[],
  bucketMs: number,
  range: { readonly from: number; readonly to: number },
  now?: { readonly value: unknown; readonly at: number },
): Band {
  const runs: { from: number; to: number; text: string }[] = [];
  const add = (start: number, end: number, text: string) => {
    const last = runs.at(-1);
    if (last !== undefined && last.text === text && start - last.to <= bucketMs) last.to = end;
    else runs.push({ from: start, to: end, text });
  };
  for (const [index, bucket] of buckets.entries()) {
    const first = bucket?.[0];
    if (first === undefined) continue;
    const start = Math.max(range.from, t[index]!);
    add(start, Math.min(range.to, t[index]! + bucketMs), 'value' in first ? stateText(first.value) : 'other');
  }
  if (now !== undefined && now.at <= range.to && range.to - now.at < 10 * bucketMs + 60_000) {
    const text = stateText(now.value);
    const last = runs.at(-1);
    const start = Math.max(last?.to ?? range.from, range.from);
    if (last?.text === text) last.to = range.to;
    else if (start < range.to) add(start, range.to, text);
  }
  const times = new Map<string, number>();
  for (const { from, to, text } of runs) times.set(text, (times.get(text) ?? 0) + to - from);
  const usual = [...times].toSorted((a, b) => b[1] - a[1])[0]?.[0];
  return limited({
    id: metric,
    label: metric,
    segments: runs.map((run) => ({ ...run, look: run.text === usual ? 'plain' : 'marked' })),
  });
}

export function stateText(value: unknown): string {
  return typeof value === 'string'
    ? value
    : typeof value === 'boolean'
      ? value
        ? 'true'
        : 'false'
      : JSON.stringify(value);
}

/** A time without readings: numbers are missing there, or none was sent. */
export interface TimeGap {
  readonly from: number;
  readonly to: number;
  /** How many sequence numbers are missing; 0 where the device sent nothing. */
  readonly missing: number;
  readonly epoch: string | undefined;
  /** The first of them. */
  readonly firstSeq: number | undefined;
}

/** Readings of a time in which the device was not connected: it kept them, and sent them later. */
export interface LateReadings {
  readonly from: number;
  readonly to: number;
  readonly readings: number;
}

export function gapBand(gaps: readonly TimeGap[], late: readonly LateReadings[] = []): Band {
  return limited({
    id: 'gaps',
    label: 'gaps',
    segments: [
      ...gaps.map(({ from, to, missing, epoch, firstSeq }) => ({
        from,
        to,
        text: missing === 0 ? '' : `${numbers(missing, firstSeq)} of ${epoch} never arrived`,
        short: missing === 0 ? '' : `${count(missing)} missing`,
        look: missing === 0 ? ('faint' as const) : ('hole' as const),
      })),
      ...late.map(({ from, to, readings }) => ({
        from,
        to,
        text: `${plural(readings, 'reading')} came late, all stored`,
        short: `${count(readings)} late`,
        look: 'late' as const,
      })),
    ].toSorted((a, b) => a.from - b.from),
  });
}

/** `seq 18,204–18,391` */
function numbers(missing: number, firstSeq: number | undefined): string {
  if (firstSeq === undefined) return count(missing);
  return `seq ${count(firstSeq)}${missing === 1 ? '' : `–${count(firstSeq + missing - 1)}`}`;
}

/** The longest times between two connections, which a device may have bridged with its buffer. */
export function offlineTimes(presence: Band, to: number): { readonly from: number; readonly to: number }[] {
  return presence.segments
    .filter(({ look, text, to: end }) => look === 'faint' && text !== '' && end < to)
    .toSorted((a, b) => b.to - b.from - (a.to - a.from))
    .slice(0, offlineShownMax)
    .map(({ from, to: end }) => ({ from, to: end }));
}

export function letterBand(times: readonly number[], bucketMs: number): Band {
  return limited({
    id: 'dead letters',
    label: 'dead letters',
    segments: times.map((at) => ({ from: at, to: at + bucketMs, text: '', look: 'marked' })),
  });
}

/** The states of all bands at a time: `door open · mode boost`. */
export function statesAt(bands: readonly Band[], at: number): string {
  return bands
    .flatMap(({ label, segments }) => {
      const here = segments.find(({ from, to, text }) => at >= from && at < to && text !== '');
      return here === undefined ? [] : [`${label} ${here.text}`];
    })
    .join(' · ');
}

function limited(band: Band): Band {
  if (band.segments.length <= changesMax) return band;
  return {
    ...band,
    note: `${asName(count(band.segments.length))} changes: density is shown`,
    segments: band.segments.map((segment) => ({ ...segment, text: '' })),
  };
}
