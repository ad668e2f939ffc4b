import { type Kysely, sql } from 'kysely';

// Rollups: docs/rollups.md says what the tables promise, docs/decisions/0044-rollups.md why they are so. Hours and minutes are counted
// from the epoch, in UTC.

export async function up(db: Kysely<unknown>): Promise<void> {
  // Writers and erasers of earlier releases do not mark what they change: without these columns they hold their work until they are
  // replaced. Renaming waits for their open transactions, so everything that they have stored is seen by what is built later.
  await sql`alter table sequence_blocks rename column newly_seen to newly_stored`.execute(db);
  await sql`alter table device_erasures rename column pass_erased to erased_in_pass`.execute(db);
  await createState(db);
  await createTiles(db);
}

async function createState(db: Kysely<unknown>): Promise<void> {
  // Hours. horizon: a writer marks what it changes below it. [built_from, built_until): has tiles. raw_from: no reading below it is taken any
  // more. final_until: below it only rollups are left. minutes_from: below it there are no rollups of minutes.
  await sql`
    create table rollup_state (
      horizon int4 not null,
      built_from int4 not null,
      built_until int4 not null,
      raw_from int4 not null default 0,
      final_until int4 not null default 0,
      minutes_from int4 not null default 0,
      is_only bool primary key default true check (is_only),
      check (built_from <= built_until and built_until <= horizon and final_until <= raw_from and raw_from <= horizon)
    ) with (fillfactor = 20)`.execute(db);
  await sql`
    insert into rollup_state (horizon, built_from, built_until)
    select hour, hour, hour from (select floor(extract(epoch from now()) / 3600)::int4 as hour) as h`.execute(db);
  await sql`
    create table rollup_metrics (
      metric_key int4 generated always as identity primary key,
      name text collate "C" not null unique
    )`.execute(db);
  // "Read this tile raw."
  await sql`
    create table rollup_marks (
      version int8 not null default 1,
      marked_at timestamptz not null default now(),
      device_key int4 not null,
      hour int4 not null,
      primary key (device_key, hour)
    ) with (fillfactor = 50)`.execute(db);
  await sql`create index rollup_marks_hour on rollup_marks (hour)`.execute(db);
}

async function createTiles(db: Kysely<unknown>): Promise<void> {
  // kind: 0 raw, 1 hour, 2 hour and minutes. metric_keys: of the rollup rows.
  await sql`
    create table tiles (
      version_xid int8 not null,
      device_key int4 not null,
      hour int4 not null,
      readings int4 not null,
      kind int2 not null,
      metric_keys int4[],
      primary key (device_key, hour)
    ) partition by range (hour)`.execute(db);
  // Times are milliseconds after the start of the row's hour or minute.
  for (const [table, unit] of [
    ['rollup_1h', 'hour'],
    ['rollup_1m', 'minute'],
  ] as const) {
    await sql`
      create table ${sql.ref(table)} (
        sum float8,
        sxx float8,
        rise float8,
        area float8,
        min float8,
        max float8,
        first float8,
        last float8,
        device_key int4 not null,
        metric_key int4 not null,
        ${sql.ref(unit)} int4 not null,
        count int4 not null,
        others int4 not null,
        min_ms int4,
        max_ms int4,
        first_ms int4,
        last_ms int4,
        first_stream int4,
        last_stream int4,
        primary key (device_key, metric_key, ${sql.ref(unit)})
      ) partition by range (${sql.ref(unit)})`.execute(db);
    await sql`create index on ${sql.ref(table)} using brin (${sql.ref(unit)}) with (pages_per_range = 32, autosummarize = on)`.execute(
      db,
    );
  }
}
