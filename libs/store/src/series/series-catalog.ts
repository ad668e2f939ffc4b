import type pg from 'pg';
import { type RollupState, stateColumns } from '../rollups/horizon.ts';
import type { SeriesQuery } from './series-query.ts';

/** Where each shape has a metric among its numbers: the position for shape keys 1, 2, 3 …, or 0. Postgres finds an element without a search. */
export type PositionsOfMetrics = ReadonlyMap<string, readonly number[]>;

/** What the store says of the metrics of a question, whatever its devices and times are. */
export interface SeriesCatalog {
  readonly state: RollupState;
  readonly metricKeys: ReadonlyMap<string, number>;
  readonly positions: PositionsOfMetrics;
}

interface CatalogRow extends RollupState {
  /** Of metrics in rollups. A name without a key is in no tile that rollups answer. */
  readonly keys: Readonly<Record<string, number>> | null;
  readonly shapes: readonly (readonly [shapeKey: number, positions: readonly number[]])[] | null;
}

/** In the client's transaction. Shapes are registered before the readings that need them. */
export async function readCatalog(
  client: pg.PoolClient,
  { metrics, where }: Pick<SeriesQuery, 'metrics' | 'where'>,
): Promise<SeriesCatalog> {
  const names = [...new Set([...metrics, ...where.map(({ metric }) => metric)])];
  const { rows } = await client.query<CatalogRow & pg.QueryResultRow>({
    name: 'series_catalog',
    text: `
      select ${stateColumns},
        (select json_object_agg(name, metric_key) from rollup_metrics where name = any($1::text[])) as keys,
        (select json_agg(json_build_array(shape_key,
            array(select coalesce(array_position(names, name), 0) from unnest($2::text[]) with ordinality as w (name, no) order by no)) order by shape_key)
          from shapes where names && $2::text[] and shape_key > 0) as shapes
      from rollup_state`,
    values: [metrics, names],
  });
  const { keys, shapes, ...state } = rows[0]!;
  return { state, metricKeys: new Map(Object.entries(keys ?? {})), positions: positionsOf(names, shapes ?? []) };
}

function positionsOf(names: readonly string[], shapes: NonNullable<CatalogRow['shapes']>): PositionsOfMetrics {
  return new Map(
    names.map((name, index) => {
      const positions = Array.from({ length: shapes.at(-1)?.[0] ?? 0 }, () => 0);
      for (const [key, found] of shapes) positions[key - 1] = found[index] ?? 0;
      return [name, positions];
    }),
  );
}
