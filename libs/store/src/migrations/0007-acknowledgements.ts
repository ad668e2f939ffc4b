import { type Kysely, sql } from 'kysely';

/** Findings of the reconciliation that an operator has acknowledged, with the numbers of that time: what is found later is not acknowledged. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table books_acknowledgements (
      id int8 generated always as identity primary key,
      from_at timestamptz not null,
      to_at timestamptz not null,
      reason text not null,
      acknowledged_by text not null,
      acknowledged_at timestamptz not null default now(),
      minutes jsonb not null
    )`.execute(db);
}
