import pg from 'pg';
import { readFloat8Array } from '../binary-arrays.ts';
import { leavesConnectionUsable } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { beginExactRead } from '../rollups/read-rollups.ts';
import { together } from '../together.ts';
import { type BucketStatement, bucketStatement, timeOf } from './bucket-statement.ts';
import type { SeriesPlan } from './plan-series.ts';
import type { SeriesQuery, SeriesResult, SeriesRow, TimedValue } from './series-query.ts';

/** A sum, or what is derived from one, lies outside the range of a double (numeric_value_out_of_range). */
export function isNumberTooLarge(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '22003';
}

/** A row for each group, metric and bucket with a value, and where they come from: in the transaction of the plan. */
export async function readPlanned(
  { db }: Pick<Database, 'db'>,
  client: pg.PoolClient,
  query: SeriesQuery,
  { stored, source }: SeriesPlan,
): Promise<SeriesResult> {
  if (stored.periods.length === 0 && stored.rolled === undefined) return { rows: [], ...source };
  const { statement, isInArrays, same } = bucketStatement(query, stored);
  const { sql: text, parameters } = statement.compile(db);
  const { rows } = await client.query<pg.QueryResultRow>(text, [...parameters]);
  return { rows: isInArrays ? rowsOf(rows[0] as Arrays, same) : (rows as SeriesRow[]).map(withEarliest), ...source };
}

/** A null where there is no row. */
type Arrays = Readonly<Record<string, Buffer | null>>;

/** Arrays take a fraction of the time of rows, of which each has a message and each value a text. */
function rowsOf(arrays: Arrays, same: BucketStatement['same']): SeriesRow[] {
  const of = (name: string) => (arrays[name] ? readFloat8Array(arrays[name]) : undefined);
  const timed = (name: string, sign = 1) => {
    const [values, times] = [of(name), of(timeOf(name))];
    return (index: number): TimedValue | null | undefined => {
      const value = values?.[index];
      return value === null || value === undefined ? value : [value, sign * times![index]!];
    };
  };
  const [group, metric, count, numbers] = [of('group'), of('metric'), of('count'), of('numbers')];
  const [sum, min, max, stddev, distinct] = [of('sum'), of('min'), of('max'), of('stddev'), of('distinct')];
  const [delta, increase, rate, twavg] = [of('delta'), of('increase'), of('rate'), of('twavg')];
  const coveredMs = of('coveredMs');
  const [m4First, m4Min, m4Max, m4Last] = [timed('m4First'), timed('m4Min'), timed('m4Max', -1), timed('m4Last')];
  // One shape for all rows.
  return (of('bucket') ?? []).map((bucket, index) => ({
    group: same.group ?? group![index]!,
    metric: same.metric ?? metric![index]!,
    bucket: bucket!,
    count: count![index]!,
    numbers: numbers![index]!,
    sum: sum?.[index],
    min: min?.[index],
    max: max?.[index],
    stddev: stddev?.[index],
    distinct: distinct?.[index] ?? undefined,
    delta: delta?.[index],
    increase: increase?.[index],
    rate: rate?.[index],
    twavg: twavg?.[index],
    coveredMs: coveredMs?.[index],
    m4First: m4First(index),
    m4Min: m4Min(index),
    m4Max: m4Max(index),
    m4Last: m4Last(index),
  }));
}

/**
 * Runs work in which rollups and readings are those of one moment. The connection has to be pipelined.
 * @param open sends the first statements, together with the begin of the transaction
 */
export async function inSnapshot<O, T>(
  client: pg.PoolClient,
  open: () => Promise<O>,
  work: (opened: O) => Promise<T>,
): Promise<T> {
  try {
    const [, opened] = await together(client.query(beginExactRead), open());
    const result = await work(opened);
    // Nothing depends on its answer: what is sent on this connection next follows it, and pg closes one that does not answer.
    client.query('commit').catch(() => {});
    return result;
  } catch (error) {
    // Any other connection is given up.
    if (leavesConnectionUsable(error)) await client.query('rollback');
    throw error;
  }
}

/** The greatest value is found with its time negated, so that of equal ones the earliest is. */
function withEarliest(row: SeriesRow): SeriesRow {
  return row.m4Max ? { ...row, m4Max: [row.m4Max[0], -row.m4Max[1]] } : row;
}
