import { randomUUID } from 'node:crypto';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { type Database, openDatabase } from '@fleetwire/store/database';
import { poisonTemperature } from './poison.ts';

/**
 * What Postgres reports for a reading that it refuses for a time:
 *
 * | Name | SQLSTATE | What the worker does |
 * | --- | --- | --- |
 * | `unknown` | of no class that the worker knows | retries the message with backoff |
 * | `badData` | integrity constraint violation | dead-letters the reading |
 */
export const refusalStates = { unknown: 'UC001', badData: '23C01' } as const;
type RefusalState = (typeof refusalStates)[keyof typeof refusalStates];

export interface Refusal {
  readonly state: RefusalState;
  /** Of the readings that workers store from now on, those whose number is divisible by this are refused, whenever they were received. */
  readonly every: number;
}

const statementTimeoutMs = 2_000;
const connectTimeoutMs = 2_000;
/** A refusal ends by itself after this time, so that it does not outlast a fault that could not lift it. */
const refusalSecondsMax = 10;
const liftTimeoutMs = 60_000;
const liftIntervalMs = 200;

/** Creates the trigger that refuses readings, and the table that tells it which. Poison readings are left to their own constraint. */
export async function prepareRefusals(databaseUrl: string): Promise<void> {
  await withDatabase(databaseUrl, async ({ pool }) => {
    await pool.query(`
      create table chaos_refusals (id text primary key, since timestamptz not null, state text not null, every int8 not null);
      create function chaos_refuse() returns trigger language plpgsql as $$
        declare refusal text;
        begin
          select state into refusal from chaos_refusals
          where new.seq % every = 0 and not new.numbers @> array[${poisonTemperature}]::float8[]
            and clock_timestamp() < since + interval '${refusalSecondsMax} seconds' limit 1;
          if found then raise exception using errcode = refusal, message = 'refused for a time by the chaos run'; end if;
          return new;
        end $$;
      create trigger chaos_refuse before insert on readings for each row execute function chaos_refuse()`);
  });
}

/**
 * Makes Postgres refuse readings.
 * @param backing its URL is another one once its container was started again
 * @returns what ends it. Where Postgres is unavailable nothing is refused, and ending it does no harm.
 */
export async function refuse(
  backing: { readonly databaseUrl: string },
  { state, every }: Refusal,
): Promise<() => Promise<void>> {
  const id = randomUUID();
  await withDatabase(backing.databaseUrl, ({ pool }) =>
    pool.query('insert into chaos_refusals values ($1, now(), $2, $3)', [id, state, every]),
  ).catch(() => {});
  return () =>
    eventually(
      () =>
        withDatabase(
          backing.databaseUrl,
          async ({ pool }) => void (await pool.query('delete from chaos_refusals where id = $1', [id])),
        ),
      { timeoutMs: liftTimeoutMs, intervalMs: liftIntervalMs },
    );
}

async function withDatabase<Result>(
  databaseUrl: string,
  work: (database: Database) => Promise<Result>,
): Promise<Result> {
  const database = openDatabase({
    databaseUrl,
    poolMax: 1,
    statementTimeoutMs,
    connectTimeoutMs,
    applicationName: 'chaos',
  });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}
