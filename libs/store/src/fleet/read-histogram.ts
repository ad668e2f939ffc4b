import { sql } from 'kysely';
import type pg from 'pg';
import type { Database } from '../database.ts';
import { foundValues, type StoredRange } from '../series/found-values.ts';
import type { SeriesPlan } from '../series/plan-series.ts';
import type { SeriesQuery, SeriesSource } from '../series/series-query.ts';

/** Bins of equal length between the least and the greatest value, or those between given edges, in order. */
export type Bins = { readonly count: number } | { readonly edges: readonly number[] };

export interface Histogram {
  /** One more than there are bins; none where there is no number. Each bin has its start, and not its end. */
  readonly edges: readonly number[];
  /** Of those that are not 0. Bin 0 is below the first edge; the one after the last bin is above the last edge. */
  readonly counts: readonly { readonly bucket: number; readonly bin: number; readonly count: number }[];
}

/**
 * The numbers of one metric of all devices of the query, in one statement, in the transaction of the plan. Of bins of equal length the last
 * has its end as well.
 */
export async function readHistogram(
  { db }: Pick<Database, 'db'>,
  client: pg.PoolClient,
  query: SeriesQuery,
  { stored, source }: SeriesPlan,
  bins: Bins,
): Promise<Histogram & SeriesSource> {
  return { ...(await countInBins(db, client, query, { stored, bins })), ...source };
}

async function countInBins(
  db: Database['db'],
  client: pg.PoolClient,
  query: SeriesQuery,
  { stored, bins }: { readonly stored: StoredRange; readonly bins: Bins },
): Promise<Histogram> {
  if (stored.periods.length === 0) return { edges: 'edges' in bins ? bins.edges : [], counts: [] };
  const edges =
    'edges' in bins
      ? sql`select ${bins.edges}::float8[] as edges`
      : sql`
        select case when lo < hi then array(
            select lo + (hi - lo) * (n::float8 / ${bins.count}) from generate_series(0, ${bins.count}) as n order by n
          ) else array[lo, hi] end as edges
        from (select min(x) as lo, max(x) as hi from found) as q where lo is not null`;
  const bin = sql`width_bucket(f.x, e.edges)`;
  const isLast = sql`f.x >= e.edges[cardinality(e.edges)]`;
  const statement = sql`
    with found as materialized (select b, x from (${foundValues(query, stored)}) as f where x is not null),
      edges as materialized (${edges}),
      counted as (
        select f.b - 1 as bucket, ${'edges' in bins ? bin : sql`case when ${isLast} then cardinality(e.edges) - 1 else ${bin} end`} as bin, count(*) as count
        from found f cross join edges e group by 1, 2)
    select (select edges from edges) as edges,
      (select coalesce(jsonb_agg(jsonb_build_object('bucket', bucket, 'bin', bin, 'count', count)), '[]') from counted) as counts`;
  const { sql: text, parameters } = statement.compile(db);
  const { rows } = await client.query<{ edges: number[] | null; counts: Histogram['counts'] }>(text, [...parameters]);
  return { edges: rows[0]!.edges ?? [], counts: rows[0]!.counts };
}
