import { type Kysely, sql } from 'kysely';

/**
 * `merged_latest` with a bound in bytes as well as in names: of two entries [device time, value] of one metric the newer stays, of equal
 * ones the later arrival. Entries above 256 bytes leave first, then the oldest.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function merged_latest(stored jsonb, arrived jsonb, bytes_max int4) returns jsonb language sql immutable parallel safe as $$
      select coalesce(jsonb_object_agg(name, entry), '{}') from (
        select name, entry, sum(bytes) over (order by bytes > 256, at desc, name rows unbounded preceding) as bytes from (
          select distinct on (name) name, entry, (entry ->> 0)::int8 as at, octet_length(name) + pg_column_size(entry) + 8 as bytes from (
            select key as name, value as entry, 0 as arrival from jsonb_each(stored)
            union all
            select key, value, 1 from jsonb_each(arrived)
          ) as entries
          order by name, (entry ->> 0)::int8 desc, arrival desc
        ) as newest
        order by bytes > 256, at desc, name
        limit 1024
      ) as bounded
      where bytes <= bytes_max
    $$`.execute(db);
}
