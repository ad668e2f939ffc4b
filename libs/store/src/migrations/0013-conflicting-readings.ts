import { type Kysely, sql } from 'kysely';

/** Duplicates whose content differs from what is stored: docs/decisions/0028-conflicting-duplicates.md. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table books_duplicates add column conflicting int8 not null default 0`.execute(db);
  await sql`
    create table sequence_conflicts (
      conflicting int8 not null,
      stream_key int4 primary key references streams on delete cascade,
      newest jsonb not null
    )`.execute(db);
  await createSameContent(db);
  await createStreamPosition(db);
}

/** Whether numbers by name and other metrics are what a row without a shape holds as JSON, where -0 is 0. */
async function createSameContent(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function is_same_as_json(names text[], numbers float8[], others jsonb, whole jsonb) returns bool language sql immutable parallel safe as $$
      select coalesce(others, '{}') = coalesce(whole, '{}') - names and not exists (
        select from unnest(names, numbers) as n (name, number)
        where case when jsonb_typeof(whole -> name) = 'number' then (whole ->> name)::float8 <> number else true end
      )
    $$`.execute(db);
}

/**
 * A span of device time with few readings of a device, in which one of them lies. Bisection finds it, presuming that the numbers of a stream grow with
 * device time, and that later streams come later; where they do not, the span misses the reading.
 */
async function createStreamPosition(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function stream_position(wanted_device int4, wanted_stream int4, wanted_seq int8, out low timestamptz, out high timestamptz)
    language plpgsql stable as $$
    declare
      middle timestamptz;
      upper timestamptz;
      near record;
    begin
      select min(p.from_ts), max(p.to_ts) into low, high from device_periods p where p.device_key = wanted_device;
      upper := high;
      for step in 1..40 loop
        exit when low is null or upper - low <= interval '1 second';
        middle := low + (upper - low) / 2;
        select next.ts, next.stream_key, next.seq into near
        from (
          select r.ts, r.stream_key, r.seq from readings r
          where r.device_key = wanted_device and r.ts > middle and r.ts <= high order by r.ts limit 16
        ) as next
        order by next.stream_key <> wanted_stream, next.ts limit 1;
        if near.ts is not null and (near.stream_key, near.seq) < (wanted_stream, wanted_seq) then
          low := near.ts;
        else
          high := coalesce(near.ts, high);
          upper := middle;
        end if;
      end loop;
    end
    $$`.execute(db);
}
