import type { Duplex } from 'node:stream';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { pinSynchronousCommit } from './durability.ts';
import type { Tables } from './tables.ts';
import { wireTypes } from './wire-types.ts';

export interface DatabaseOptions {
  readonly databaseUrl: string;
  readonly poolMax: number;
  /** Postgres ends a statement that takes longer (SQLSTATE 57014). */
  readonly statementTimeoutMs: number;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Postgres refuses every write of these connections (SQLSTATE 25006). */
  readonly readOnly?: boolean;
  /** Longest wait for a connection: a new one, or a free one of the pool. */
  readonly connectTimeoutMs?: number;
  /** Statements sent together are answered together: for the batch writer. Cursors do not work on such connections. */
  readonly pipelined?: boolean;
  /** Called for connections that break while idle; a query on a broken connection is rejected with the error. */
  readonly onConnectionLost?: (error: Error) => void;
}

export interface Database {
  readonly pool: pg.Pool;
  readonly db: Kysely<Tables>;
  /** Waits until connections in use are released, then closes all. */
  close(): Promise<void>;
}

/** How soon Postgres notices that the client of a running query has disconnected, and ends the query (Linux and macOS). */
const clientGoneCheckMs = 500;
const keepAliveDelayMs = 10_000;
/** How long after its timeout a statement's answer may take to arrive. */
const answerGraceMs = 5_000;

/** Opens a pool; it connects when first used, so this neither fails nor waits while Postgres is away. */
export function openDatabase(options: DatabaseOptions): Database {
  const {
    databaseUrl,
    poolMax,
    statementTimeoutMs,
    connectTimeoutMs = 5_000,
    readOnly = false,
    onConnectionLost,
  } = options;
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: poolMax,
    application_name: options.applicationName,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveDelayMs,
    pipeline: options.pipelined ?? false,
    statement_timeout: statementTimeoutMs,
    // Postgres answers within its own timeout; a connection without any answer is broken.
    query_timeout: statementTimeoutMs + answerGraceMs,
    options: sessionSettings(readOnly),
    // pg-pool waits for the promise, although its types do not say so, and rejects the caller that waits for the connection when it fails.
    onConnect: (readOnly ? undefined : pinSynchronousCommit) as pg.PoolConfig['onConnect'],
    types: wireTypes,
  });
  // Without listeners a broken connection would end the process; the query on it, if any, is rejected in either case.
  pool.on('error', (error) => onConnectionLost?.(error));
  pool.on('connect', (client) => client.on('error', () => {}));
  if (options.pipelined === true) pool.on('connect', writeOnceATick);
  return {
    pool,
    db: new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }),
    close: () => pool.end(),
  };
}

/** Statements that are sent in one tick leave in one write: each write takes longer than what is written. */
function writeOnceATick(client: pg.PoolClient): void {
  // Members of pg's clients that their types leave out.
  const { stream } = (client as unknown as { readonly connection: { readonly stream: Duplex } }).connection;
  const query = client.query.bind(client) as (...sent: readonly unknown[]) => unknown;
  let isCorked = false;
  const uncork = (): void => {
    isCorked = false;
    stream.uncork();
  };
  const corked = (...sent: readonly unknown[]): unknown => {
    if (!isCorked) {
      isCorked = true;
      stream.cork();
      process.nextTick(uncork);
    }
    return query(...sent);
  };
  Object.assign(client, { query: corked });
}

function sessionSettings(readOnly: boolean): string {
  const settings = [
    'TimeZone=UTC',
    'DateStyle=ISO',
    `client_connection_check_interval=${clientGoneCheckMs}`,
    // Compiling a query over many partitions takes a second, again for each call; running it takes milliseconds.
    'jit=off',
  ];
  if (readOnly) settings.push('default_transaction_read_only=on');
  return settings.map((setting) => `-c ${setting}`).join(' ');
}
