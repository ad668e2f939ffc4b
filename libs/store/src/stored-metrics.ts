import type { Metrics, MetricValue } from '@fleetwire/contracts/metrics';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';

/** The names of shapes, by key. Queried once per page of rows, so that names are not sent with every row. */
export async function namesOfShapes(
  { db, pool }: Pick<Database, 'db' | 'pool'>,
  shapeKeys: ReadonlySet<number>,
  signal: AbortSignal | undefined,
): Promise<Map<number, string[]>> {
  if (shapeKeys.size === 0) return new Map();
  const query = db
    .selectFrom('shapes')
    .select(['shape_key', 'names'])
    .where('shape_key', 'in', [...shapeKeys]);
  const shapes = await fetchRows(pool, query.compile(), signal);
  return new Map(shapes.map(({ shape_key, names }) => [shape_key, names]));
}

/** Rebuilds a reading's metrics from its columns. */
export function toMetrics(
  names: readonly string[],
  numbers: readonly number[],
  others: Record<string, unknown> | null,
  wanted: ReadonlySet<string> | undefined,
): Metrics {
  const metrics: Record<string, MetricValue> = {};
  for (const [index, name] of names.entries()) {
    const value = numbers[index];
    if (value !== undefined && (wanted === undefined || wanted.has(name))) metrics[name] = value;
  }
  for (const name in others) {
    if (wanted === undefined || wanted.has(name)) metrics[name] = others[name] as MetricValue;
  }
  return metrics;
}
