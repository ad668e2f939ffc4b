import { type Kysely, sql } from 'kysely';

/**
 * Which devices have readings in which partition, so that a reader looks at no other. docs/decisions/0026-partitions-of-the-past.md
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table device_periods (
      from_ts timestamptz not null,
      to_ts timestamptz not null,
      device_key int4 not null,
      primary key (device_key, from_ts)
    )`.execute(db);
  // Writers of earlier releases do not register what they store: without this column they hold their messages until they are replaced.
  await sql`alter table sequence_blocks rename column added to newly_seen`.execute(db);
  const partitions = await sql<{ table: string; bounds: string }>`
    select c.oid::regclass::text as table, pg_get_expr(c.relpartbound, c.oid) as bounds
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'readings'::regclass and not i.inhdetachpending`.execute(db);
  for (const { table, bounds } of partitions.rows) {
    const [, from, to] = /FROM \('([^']+)'\) TO \('([^']+)'\)/.exec(bounds) ?? [];
    if (from === undefined || to === undefined) throw new Error(`partition ${table} has no bounds of time: ${bounds}`);
    // One look into the index for each device.
    await sql`
      insert into device_periods (device_key, from_ts, to_ts)
      select d.device_key, ${from}::timestamptz, ${to}::timestamptz
      from devices d cross join lateral (select from ${sql.raw(table)} r where r.device_key = d.device_key limit 1) as there`.execute(
      db,
    );
  }
}
