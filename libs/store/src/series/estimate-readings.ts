import type pg from 'pg';
import { int4Array } from '../binary-arrays.ts';
import { type HourRange, readRollupState, readTileReadings, type RollupState } from '../rollups/read-rollups.ts';
import { together } from '../together.ts';
import type { TimeSpan } from './found-values.ts';
import { hourMs } from './rolled-values.ts';

export interface ReadingsRange {
  readonly deviceKeys: readonly number[];
  /** Half-open, epoch milliseconds. */
  readonly from: number;
  readonly to: number;
}

const devicesProbedMax = 16;
const probesMax = 32;
const readingsPerProbe = 250;
/** Of how many devices the tiles are looked at, where all of them are more than a few. */
const tilesFewMax = 2_500;
const tilesReadMax = 50_000;

/**
 * About how many readings the devices have in the range: in whole hours that are built by their tiles, in others by a few looks into the
 * index. Up to `countedMax` a number that is not exact is below it; above it, the readings have been counted up to there.
 */
export async function estimateReadings(
  client: pg.PoolClient,
  range: ReadingsRange,
  countedMax: number,
): Promise<number> {
  const { tiles, left } = coverageOf(range, await readRollupState(client));
  const [built, probed] = await together(
    readBuiltReadings(client, range.deviceKeys, tiles),
    probeReadings(client, range.deviceKeys, left),
  );
  return confirmedReadings(client, { range, built, left, probed }, countedMax);
}

/** How the readings of a range are estimated. */
export interface Coverage {
  /** Whole hours whose tiles say how many readings they have. */
  readonly tiles: HourRange;
  /** The times before and after them. */
  readonly left: readonly TimeSpan[];
}

export function coverageOf(
  { deviceKeys, from, to }: ReadingsRange,
  { builtFrom, builtUntil, finalUntil }: RollupState,
): Coverage {
  const first = Math.max(Math.ceil(from / hourMs), builtFrom, finalUntil);
  const end = Math.min(Math.floor(to / hourMs), builtUntil);
  // Tiles of few devices over many years would take longer than looks at the readings.
  if (first >= end || sampleSize(deviceKeys, end - first) * (end - first) > tilesReadMax)
    return { tiles: { from: 0, to: 0 }, left: [{ from, to }] };
  const outside = [
    { from, to: first * hourMs },
    { from: end * hourMs, to },
  ];
  return { tiles: { from: first, to: end }, left: outside.filter((span) => span.from < span.to) };
}

export interface BuiltReadings {
  readonly readings: number;
  /** All tiles were looked at, and none has changed since it was built. */
  readonly isExact: boolean;
}

const none: BuiltReadings = { readings: 0, isExact: true };

/** By tiles: of all devices, or of a sample of them. */
export async function readBuiltReadings(
  client: pg.PoolClient,
  deviceKeys: readonly number[],
  { from, to }: HourRange,
): Promise<BuiltReadings> {
  if (from >= to || deviceKeys.length === 0) return none;
  const sample = sampleOf(deviceKeys, sampleSize(deviceKeys, to - from));
  const { readings, hasMarks } = await readTileReadings(client, { deviceKeys: sample, from, to });
  return {
    readings: Math.round((readings * deviceKeys.length) / sample.length),
    isExact: sample.length === deviceKeys.length && !hasMarks,
  };
}

function sampleSize({ length }: readonly number[], hours: number): number {
  return Math.min(length, Math.max(devicesProbedMax, Math.floor(tilesFewMax / hours)));
}

/** At even distances. */
function sampleOf(deviceKeys: readonly number[], count: number): readonly number[] {
  const step = Math.max(1, deviceKeys.length / count);
  return deviceKeys.filter((_, index) => Math.floor(index / step) > Math.floor((index - 1) / step));
}

export async function probeReadings(
  client: pg.PoolClient,
  deviceKeys: readonly number[],
  spans: readonly TimeSpan[],
): Promise<number> {
  if (spans.length === 0 || deviceKeys.length === 0) return 0;
  const sample = sampleOf(deviceKeys, Math.min(deviceKeys.length, devicesProbedMax));
  const total = spans.reduce((sum, { from, to }) => sum + to - from, 0);
  const wanted = Math.min(probesMax / sample.length, 8);
  const parts = spans.flatMap(({ from, to }) => {
    const count = Math.max(1, Math.floor(Math.min((wanted * (to - from)) / total, (to - from) / 1_000)));
    const edge = (part: number) => Math.round(from + ((to - from) * part) / count);
    return Array.from({ length: count }, (_, part) => ({ from: edge(part), to: edge(part + 1) }));
  });
  const { rows } = await client.query<{ part: number; count: number; newest: number | null }>(
    `select p.part, q.* from unnest($1::int4[]) as d (device_key)
     cross join unnest($2::timestamptz[], $3::timestamptz[]) with ordinality as p (start, "end", part)
     cross join lateral (
       select count(*) as count, max(ts) as newest from (
         select r.ts from readings r
         where r.device_key = d.device_key and r.ts >= p.start and r.ts < p."end" and r.ts >= $4::timestamptz and r.ts < $5::timestamptz
         order by r.ts limit ${readingsPerProbe}
       ) as first
     ) as q`,
    [
      int4Array(sample),
      parts.map(({ from }) => iso(from)),
      parts.map(({ to }) => iso(to)),
      iso(parts[0]!.from),
      iso(parts.at(-1)!.to),
    ],
  );
  const readings = rows.map(({ part, count, newest }) => {
    if (count < readingsPerProbe || newest === null) return count;
    const { from, to } = parts[part - 1]!;
    return Math.max(count, (count * (to - from)) / (newest - from + 1));
  });
  const found = readings.reduce((sum, one) => sum + one, 0);
  return Math.round((found * deviceKeys.length) / sample.length);
}

interface Estimated {
  readonly range: ReadingsRange;
  readonly built: BuiltReadings;
  readonly left: readonly TimeSpan[];
  readonly probed: number;
}

/** Above `countedMax` what is not exact is counted, up to there. */
export async function confirmedReadings(
  client: pg.PoolClient,
  { range, built, left, probed }: Estimated,
  countedMax: number,
): Promise<number> {
  const total = built.readings + probed;
  if (total <= countedMax) return total;
  if (built.isExact && (built.readings > countedMax || left.length === 0)) return total;
  const certain = built.isExact ? built.readings : 0;
  const counted = await countUpTo(client, range.deviceKeys, built.isExact ? left : [range], countedMax - certain + 1);
  return certain + counted <= countedMax ? certain + counted : total;
}

async function countUpTo(
  client: pg.PoolClient,
  deviceKeys: readonly number[],
  spans: readonly TimeSpan[],
  max: number,
): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `select count(*) as count from (
       select from unnest($2::timestamptz[], $3::timestamptz[]) as s (start, "end") cross join lateral (
         select from readings r where r.device_key = any($1::int4[])
           and r.ts >= s.start and r.ts < s."end" and r.ts >= $4::timestamptz and r.ts < $5::timestamptz
       ) as r limit $6
     ) as counted`,
    [
      int4Array(deviceKeys),
      spans.map(({ from }) => iso(from)),
      spans.map(({ to }) => iso(to)),
      iso(spans[0]!.from),
      iso(spans.at(-1)!.to),
      max,
    ],
  );
  return rows[0]?.count ?? 0;
}

function iso(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
