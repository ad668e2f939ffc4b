import { type Kysely, sql } from 'kysely';

/** Depth and rates of the queues over the last day: one row for each queue and sample of 15 s. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table queue_samples (
      at timestamptz not null,
      queue text not null,
      ready int8 not null,
      unacked int8,
      readings int8,
      in_rate float8,
      out_rate float8,
      oldest_seconds float8,
      primary key (at, queue)
    )`.execute(db);
}
