import type pg from 'pg';
import { hourOf, startOfHour } from './horizon.ts';

const minutesPerHour = 60;
const tables = [
  { table: 'tiles', perHour: 1 },
  { table: 'rollup_1h', perHour: 1 },
  { table: 'rollup_1m', perHour: minutesPerHour },
] as const;
type RollupTable = (typeof tables)[number]['table'];

/** Hours of a quarter of a year: half-open. */
interface Quarter {
  /** `2026q4` */
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

function quarterOfHour(hour: number): Quarter {
  const date = new Date(startOfHour(hour));
  const year = date.getUTCFullYear();
  const quarter = Math.floor(date.getUTCMonth() / 3);
  return {
    name: `${year}q${quarter + 1}`,
    from: hourOf(Date.UTC(year, quarter * 3)),
    to: hourOf(Date.UTC(year, quarter * 3 + 3)),
  };
}

/** Creates the partitions of these hours. Only a builder does so: it is the only one that writes there. */
export async function ensureRollupPartitions(
  client: pg.ClientBase,
  ranges: readonly { readonly fromHour: number; readonly toHour: number }[],
): Promise<void> {
  const quarters = new Map<string, Quarter>();
  for (const { fromHour, toHour } of ranges)
    for (let hour = fromHour; hour < toHour; hour = quarterOfHour(hour).to)
      quarters.set(quarterOfHour(hour).name, quarterOfHour(hour));
  const existing = await rollupPartitions(client);
  for (const quarter of quarters.values()) {
    for (const { table, perHour } of tables) {
      const name = `${table}_${quarter.name}`;
      if (existing.some((partition) => partition.name === name)) continue;
      // `create table … partition of` would block every reader; attaching a table does not. One transaction: a partition that is not
      // attached is never left behind.
      await client.query(`begin;
        create table ${name} (like ${table} including all);
        alter table ${table} attach partition ${name} for values from (${quarter.from * perHour}) to (${quarter.to * perHour});
        commit`);
    }
  }
}

const dayMs = 24 * 60 * 60 * 1_000;

/** Rollups are dropped by quarters, once all of one is past retention. */
export function rollupsKeptFrom(now: number, retentionDays: number): number {
  return Math.max(0, quarterOfHour(hourOf(now - retentionDays * dayMs)).from);
}

interface RollupPartition {
  readonly name: string;
  readonly table: RollupTable;
  readonly quarter: Quarter;
}

export async function rollupPartitions(client: Pick<pg.ClientBase, 'query'>): Promise<RollupPartition[]> {
  const { rows } = await client.query<{ name: string; table: RollupTable }>(
    `select c.relname as name, p.relname as table from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
     where i.inhparent = any(array[${tables.map(({ table }) => `'${table}'::regclass`).join(', ')}])`,
  );
  return rows.flatMap(({ name, table }) => {
    const [, year, quarter] = /_(\d{4})q([1-4])$/.exec(name) ?? [];
    if (year === undefined || quarter === undefined) return [];
    return [{ name, table, quarter: quarterOfHour(hourOf(Date.UTC(Number(year), (Number(quarter) - 1) * 3))) }];
  });
}
