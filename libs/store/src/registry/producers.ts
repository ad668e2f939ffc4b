import { sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';

/** How long a key gives the same numbers again. */
export const idempotencyKeyDays = 7;

export interface NumbersRequest {
  readonly deviceId: string;
  /** The subject of the caller's token. */
  readonly client: string;
  readonly key: string | undefined;
  /** Of the readings: the same key with others is a mistake. */
  readonly digest: string;
  readonly readings: number;
  readonly signal?: AbortSignal | undefined;
}

interface Numbers {
  readonly firstSeq: number;
  /** When the first call with the key was made, on the clock of Postgres; epoch milliseconds. */
  readonly calledAt: number;
}

/**
 * Numbers for the readings that a client adds to a device. A key that was used before gives the numbers and the time of the first call.
 * @returns undefined where the key was used for other readings
 */
export async function numbersFor(
  { db, pool }: Database,
  { deviceId, client, key, digest, readings, signal }: NumbersRequest,
): Promise<Numbers | undefined> {
  const query = sql<Numbers & { readonly digest: string }>`
    select first_seq as "firstSeq", digest, date_trunc('milliseconds', called_at) as "calledAt"
    from producer_numbers(${deviceId}, ${client}, ${key ?? null}, ${digest}, ${readings}, ${idempotencyKeyDays})`;
  const [numbers] = await fetchRows(pool, query.compile(db), signal);
  return numbers?.digest === digest ? numbers : undefined;
}
