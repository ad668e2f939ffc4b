import { type Kysely, sql } from 'kysely';

// Positions of envelopes: docs/decisions/0025-positions-of-envelopes.md.

export async function up(db: Kysely<unknown>): Promise<void> {
  // settled: every number up to here is settled. accounted: every number up to here has a row, so that only readings without an ack can be
  // missing. last, numbered_before: from the newest report of the edge. complete_until: of the newest report whose numbers are accounted.
  await sql`
    create table edges (
      edge_key int4 generated always as identity primary key,
      instance_id text collate "C" not null unique,
      settled int8 not null default 0,
      accounted int8 not null default 0,
      last int8 not null default 0,
      numbered_before timestamptz,
      complete_until timestamptz,
      reported_at timestamptz not null default now(),
      is_finished bool not null default false,
      closed_at timestamptz
    ) with (fillfactor = 50)`.execute(db);
  // One row for consecutive numbers of an edge in one transaction. They are settled from settled_at on; times are of their readings, null
  // where there are none.
  await sql`
    create table envelopes (
      first int8 not null,
      last int8 not null,
      xid xid8 not null default pg_current_xact_id(),
      settled_at timestamptz not null default now(),
      received_min timestamptz,
      received_max timestamptz,
      ts_min timestamptz,
      ts_max timestamptz,
      edge_key int4 not null
    )`.execute(db);
  await sql`create index envelopes_position on envelopes (edge_key, first)`.execute(db);
  await sql`create index envelopes_settled_at on envelopes using brin (settled_at) with (pages_per_range = 32, autosummarize = on)`.execute(
    db,
  );
  // Halves of split envelopes, until all of an envelope are there.
  await sql`
    create table envelope_parts (
      number int8 not null,
      edge_key int4 not null,
      part text collate "C" not null,
      settled_at timestamptz not null default now(),
      received_min timestamptz,
      received_max timestamptz,
      ts_min timestamptz,
      ts_max timestamptz,
      primary key (edge_key, number, part)
    )`.execute(db);
}
