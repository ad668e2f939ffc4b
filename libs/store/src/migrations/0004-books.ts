import { type Kysely, sql } from 'kysely';

// Reconciliation (its tables are called books): docs/decisions/0022-reconciliation.md. Minutes are those in which the edge received a reading, counted
// since the epoch.

export async function up(db: Kysely<unknown>): Promise<void> {
  await createEdgeBooks(db);
  await createStoreBooks(db);
  // Rows lie in the order of their arrival, more or less: a block range index finds those of a minute, and costs inserts nothing.
  await sql`create index readings_received_at on readings using brin (received_at) with (pages_per_range = 32, autosummarize = on)`.execute(
    db,
  );
}

/** Reports of ingest instances. The device '' stands for all devices that a report counts together. */
async function createEdgeBooks(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table books_edges (
      instance_id text collate "C" primary key,
      reports int8multirange not null,
      first_reported_at timestamptz not null,
      last_reported_at timestamptz not null,
      is_finished boolean not null
    )`.execute(db);
  await sql`
    create table books_accepted (
      accepted int8 not null,
      rejected int8 not null,
      nacked int8 not null,
      unconfirmed int8 not null,
      minute int4 not null,
      device_id text collate "C" not null,
      primary key (minute, device_id)
    ) with (fillfactor = 50)`.execute(db);
}

/** What workers and maintenance have counted. */
async function createStoreBooks(db: Kysely<unknown>): Promise<void> {
  // Each writer, which is a backend of Postgres, has a row of its own: batches side by side never wait for one another here.
  await sql`
    create table books_stored (
      stored int8 not null,
      replayed int8 not null,
      minute int4 not null,
      writer int4 not null,
      primary key (minute, writer)
    ) with (fillfactor = 20)`.execute(db);
  await sql`
    create table books_duplicates (
      duplicates int8 not null,
      repeats int8 not null,
      minute int4 not null,
      device_key int4 not null,
      writer int4 not null,
      primary key (minute, device_key, writer)
    ) with (fillfactor = 50)`.execute(db);
  await sql`
    create table books_dead (
      dead int8 not null,
      minute int4 not null,
      device_id text collate "C" not null,
      primary key (minute, device_id)
    ) with (fillfactor = 50)`.execute(db);
  // Rows that went with a partition past retention.
  await sql`
    create table books_forgotten (
      readings int8 not null,
      minute int4 primary key
    )`.execute(db);
}
