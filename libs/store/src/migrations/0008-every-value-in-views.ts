import { type Kysely, sql } from 'kysely';

/**
 * The views show readings without a shape of their own (`shape_key` 0, all their metrics in `others`), and a shape says which device
 * brought it, so that one device cannot use up all of them.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table shapes add column device_key int4`.execute(db);
  // No list of names has this digest, so nothing is ever found by it.
  await sql`insert into shapes (shape_key, names, digest) values (0, '{}', '')`.execute(db);
  await sql`
    create or replace view telemetry_values as
    select d.device_id, r.ts, n.metric, n.value
    from readings r
    join devices d on d.device_key = r.device_key
    join shapes sh on sh.shape_key = r.shape_key
    cross join lateral (
      select metric, value from unnest(sh.names, r.numbers) as stored (metric, value)
      union all
      select key, value::float8 from jsonb_each(case when r.shape_key = 0 then r.others end)
      where jsonb_typeof(value) = 'number'
    ) as n (metric, value)`.execute(db);
}
