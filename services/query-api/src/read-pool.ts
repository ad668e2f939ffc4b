import type { Logger } from '@fleetwire/service-kit/logger';
import { openDatabase, type Database } from '@fleetwire/store/database';
import type { Configuration } from './configuration.ts';

export interface ReadPoolOptions {
  readonly poolMax: number;
  /** Shown in `pg_stat_activity` and in the log. */
  readonly purpose: string;
  readonly logger: Logger;
}

/** Connections that cannot write, whatever they are made to run. */
export function openReadPool(
  config: Pick<Configuration, 'databaseUrl' | 'statementTimeoutMs'>,
  { poolMax, purpose, logger }: ReadPoolOptions,
): Database {
  return openDatabase({
    databaseUrl: config.databaseUrl,
    poolMax,
    statementTimeoutMs: config.statementTimeoutMs,
    connectTimeoutMs: config.statementTimeoutMs,
    applicationName: `query-api ${purpose}`,
    readOnly: true,
    onConnectionLost: (error) => logger.warn({ err: error, pool: purpose }, 'database connection lost'),
  });
}
