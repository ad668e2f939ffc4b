import { type Kysely, sql } from 'kysely';

/** Alarms that query-api has seen, now and in the last week. At most one of a name and subject is open. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table alarms (
      number int8 generated always as identity primary key,
      name text not null,
      subject text not null,
      summary text not null,
      started_at timestamptz not null default now(),
      ended_at timestamptz
    )`.execute(db);
  await sql`create unique index alarms_open on alarms (name, subject) where ended_at is null`.execute(db);
  await sql`create index alarms_ended on alarms (ended_at)`.execute(db);
}
