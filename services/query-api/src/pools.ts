import type { Logger } from '@fleetwire/runtime/logger';
import { openDatabase, type Database } from '@fleetwire/store/database';
import type { QueryApiConfiguration } from './configuration.ts';

export interface PoolOptions {
  readonly poolMax: number;
  /** Shown in `pg_stat_activity` and in the log. */
  readonly purpose: string;
  readonly logger: Logger;
  /** Statements that are sent together are answered together; there is no COPY. */
  readonly pipelined?: boolean;
  /** How long a wait for a connection may take; as a statement, if undefined. */
  readonly connectTimeoutMs?: number;
}

/** Connections that are read-only, whatever statement they run. */
export function openReadPool(
  config: Pick<QueryApiConfiguration, 'databaseUrl' | 'statementTimeoutMs'>,
  options: PoolOptions,
): Database {
  return openPool(config, { ...options, databaseUrl: config.databaseUrl, readOnly: true });
}

/** Connections that may write: operators' decisions about dead letters, changes of the device registry. */
export function openWritePool(
  config: Pick<QueryApiConfiguration, 'databaseUrl' | 'databaseWriteUrl' | 'statementTimeoutMs'>,
  options: PoolOptions,
): Database {
  return openPool(config, { ...options, databaseUrl: config.databaseWriteUrl ?? config.databaseUrl, readOnly: false });
}

function openPool(
  { statementTimeoutMs }: Pick<QueryApiConfiguration, 'statementTimeoutMs'>,
  {
    purpose,
    logger,
    connectTimeoutMs = statementTimeoutMs,
    ...options
  }: PoolOptions & { readonly databaseUrl: string; readonly readOnly: boolean },
): Database {
  return openDatabase({
    ...options,
    statementTimeoutMs,
    connectTimeoutMs,
    applicationName: `query-api ${purpose}`,
    onConnectionLost: (error) => logger.warn({ err: error, pool: purpose }, 'database connection lost'),
  });
}
