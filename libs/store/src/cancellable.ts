import type { CompiledQuery } from 'kysely';
import pg from 'pg';
import { PoolWaitError } from './failure.ts';

/**
 * Runs one query that ends in Postgres, too, when `signal` aborts.
 * @throws the signal's reason once it aborts, or PoolWaitError if no connection of a full pool became free until then
 */
export async function fetchRows<Row>(
  pool: pg.Pool,
  query: CompiledQuery<Row>,
  signal: AbortSignal | undefined,
): Promise<Row[]> {
  return onConnection(pool, signal, async (client) => {
    const { rows } = await client.query(query.sql, [...query.parameters]);
    return rows as Row[];
  });
}

/**
 * Runs queries, one after the other, on one connection. When `signal` aborts, it is closed, and Postgres, which checks for its client twice
 * a second (database.ts), ends the query. A cancel request would need a second connection, which hangs where the first one does.
 * @throws as `fetchRows` does
 */
export async function onConnection<T>(
  pool: pg.Pool,
  signal: AbortSignal | undefined,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await connect(pool, signal);
  let released = false;
  const release = (error?: Error) => {
    if (!released) client.release(error);
    released = true;
    // A pipelined connection would wait for what it has sent.
    if (error !== undefined && pool.options.pipeline) streamOf(client).destroy();
  };
  const onAbort = () => release(new Error('query aborted'));
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await work(client);
  } catch (error) {
    signal?.throwIfAborted();
    if (!leavesConnectionUsable(error)) release(error as Error);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    release();
  }
}

/** A member of pg's clients that their types leave out. */
function streamOf(client: pg.PoolClient): { destroy(): void } {
  return (client as unknown as { readonly connection: { readonly stream: { destroy(): void } } }).connection.stream;
}

/**
 * Whether a connection may be used again after this error: Postgres refused the data, or met another transaction. On all else the
 * connection is given up: it is broken or slow, or has prepared a statement whose tables have changed since.
 */
export function leavesConnectionUsable(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity === 'ERROR' && /^(?:22|23|40|55)/.test(error.code ?? '');
}

/** @throws the signal's reason once it aborts, or PoolWaitError if no connection of a full pool became free until then */
export async function connect(pool: pg.Pool, signal: AbortSignal | undefined): Promise<pg.PoolClient> {
  signal?.throwIfAborted();
  const isFull = pool.idleCount === 0 && pool.totalCount >= pool.options.max;
  const connecting = pool.connect();
  try {
    return signal === undefined ? await connecting : await unlessAborted(connecting, signal);
  } catch (error) {
    const isWait = isFull && (signal?.aborted || (error as Error).message === poolWaitMessage);
    throw isWait ? new PoolWaitError(error) : error;
  }
}

/** pg-pool's error where no connection became free; a new connection that takes too long has another one. */
const poolWaitMessage = 'timeout exceeded when trying to connect';

async function unlessAborted(connecting: Promise<pg.PoolClient>, signal: AbortSignal): Promise<pg.PoolClient> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([connecting, aborted.promise]);
  } catch (error) {
    connecting.then(
      (late) => late.release(),
      () => {},
    );
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
