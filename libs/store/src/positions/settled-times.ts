import type pg from 'pg';
import { numbersPerRowMax } from './edges.ts';
import { type NumberRange, upTo, without } from './number-ranges.ts';
import type { Positions } from './read-positions.ts';
import { type EnvelopeTimes, unite } from './settled-envelope.ts';

/** By instance id. */
export type RangesByEdge = Readonly<Record<string, readonly NumberRange[]>>;

interface TimesRow {
  readonly received_min: number | null;
  readonly received_max: number | null;
  readonly ts_min: number | null;
  readonly ts_max: number | null;
}

/** At most this many intervals are made for each range, however many numbers are settled. */
const intervalsPerRange = 64;
/** Rows above the settled positions that one call looks at; what follows is left for the next. */
const rowsAboveMax = 5_000;
const intervalsMax = 200;

const wantedRanges = `unnest($1::text[], $2::int8[], $3::int8[]) as wanted(instance_id, from_number, to_number)
  join edges using (instance_id)`;
const overlapping = `e.edge_key = edges.edge_key and e.first > from_number - ${numbersPerRowMax}
  and e.first <= coalesce(to_number, 9223372036854775807) and e.last >= from_number and e.settled_at <= now()`;
const settledStatement = `
  select times.* from ${wantedRanges} cross join lateral (
    select min(received_min) as received_min, max(received_max) as received_max, min(ts_min) as ts_min, max(ts_max) as ts_max
    from envelopes e where ${overlapping} group by (e.first - from_number) * ${intervalsPerRange} / (to_number - from_number + 1)
  ) as times`;
const aboveStatement = `
  select instance_id, above.* from ${wantedRanges} cross join lateral (
    select first, last, received_min, received_max, ts_min, ts_max
    from envelopes e where ${overlapping} order by e.first limit ${rowsAboveMax}
  ) as above limit ${rowsAboveMax}`;
const uncoveredStatement = `
  select distinct instance_id from ${wantedRanges} where from_number <= to_number and not exists (
    select from envelopes e where e.edge_key = edges.edge_key and e.first > from_number - ${numbersPerRowMax}
      and e.first <= from_number and e.last >= from_number)`;

/**
 * Between which times the readings of these envelopes lie, as far as they are settled in the snapshot of the client's transaction. Two
 * statements, however many ranges: the timeout of a statement bounds the call.
 * @returns disjoint intervals by arrival, and the numbers that are not settled
 */
export async function settledTimes(
  client: Pick<pg.ClientBase, 'query'>,
  { settled, closed }: Positions,
  ranges: RangesByEdge,
): Promise<{ intervals: EnvelopeTimes[]; left: Record<string, readonly NumberRange[]> }> {
  const settledUpTo = (instanceId: string): number =>
    numberOf(closed, instanceId) ?? numberOf(settled, instanceId) ?? 0;
  const wanted = Object.entries(ranges);
  const below = wanted.map(([id, list]) => [id, upTo(list, settledUpTo(id))] as const);
  const rest = new Map(wanted.map(([id, list]) => [id, without(list, 0, settledUpTo(id))]));
  const { rows: ofSettled } = await client.query<TimesRow>(settledStatement, parametersOf(below));
  const { rows: above } = await client.query<TimesRow & { instance_id: string; first: number; last: number }>(
    aboveStatement,
    parametersOf(rest),
  );
  for (const { instance_id: id, first, last } of above) rest.set(id, without(rest.get(id)!, first, last));
  // Of a closed edge nothing is expected, but what came nevertheless is read.
  const isCut = above.length === rowsAboveMax;
  const left = [...rest].filter(([id, list]) => list.length > 0 && (isCut || !Object.hasOwn(closed, id)));
  const found = [...ofSettled, ...above].filter((row) => row.received_min !== null);
  return { intervals: disjoint(found.map(timesOf)), left: Object.fromEntries(left) };
}

/** The edges of which the first number of a range is settled, and its position is deleted. */
export async function uncoveredEdges(
  client: Pick<pg.ClientBase, 'query'>,
  { settled, closed }: Positions,
  ranges: RangesByEdge,
): Promise<string[]> {
  const below = Object.entries(ranges).map(
    ([id, list]) => [id, upTo(list, numberOf(closed, id) ?? numberOf(settled, id) ?? 0)] as const,
  );
  const { rows } = await client.query<{ instance_id: string }>(uncoveredStatement, parametersOf(below));
  return rows.map(({ instance_id: id }) => id);
}

/** Of callers come names that every object has, such as "constructor". */
function numberOf(edges: Readonly<Record<string, number>>, instanceId: string): number | undefined {
  return Object.hasOwn(edges, instanceId) ? edges[instanceId] : undefined;
}

function parametersOf(wanted: Iterable<readonly [string, readonly NumberRange[]]>): unknown[] {
  const rows = [...wanted].flatMap(([id, list]) => list.map(({ first, last }) => ({ id, first, last })));
  return [rows.map(({ id }) => id), rows.map(({ first }) => first), rows.map(({ last }) => last)];
}

function timesOf(row: TimesRow): EnvelopeTimes {
  return {
    receivedMin: row.received_min!,
    receivedMax: row.received_max!,
    tsMin: row.ts_min!,
    tsMax: row.ts_max!,
  };
}

/** Neighbours are united where there are too many: rows between them come as well, which is harmless. */
function disjoint(found: EnvelopeTimes[]): EnvelopeTimes[] {
  const sorted = found.toSorted((a, b) => a.receivedMin - b.receivedMin);
  for (let gapMs = 0; ; gapMs = gapMs * 2 + 1) {
    const intervals: EnvelopeTimes[] = [];
    for (const one of sorted) {
      const before = intervals.at(-1);
      if (before !== undefined && one.receivedMin <= before.receivedMax + gapMs)
        intervals[intervals.length - 1] = unite(before, one)!;
      else intervals.push(one);
    }
    if (intervals.length <= intervalsMax) return intervals;
  }
}
