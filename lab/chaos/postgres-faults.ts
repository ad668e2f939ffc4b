import { openDatabase } from '@fleetwire/store/database';
import { eventually } from './eventually.ts';
import type { Fault } from './fault.ts';
import type { Platform } from './platform.ts';

const lane = 'postgres';
const transactionWaitMs = 2_000;

export const postgresFaults: readonly Fault[] = [
  {
    name: 'postgres-immediate',
    what: 'immediate shutdown: nothing is written down, recovery from the log',
    ...ended('immediate'),
  },
  { name: 'postgres-killed', what: 'SIGKILL of all its processes, recovery from the log', ...ended('killed') },
  {
    name: 'postgres-restarted-mid-transaction',
    what: 'fast shutdown at the moment when a worker has a transaction open',
    ...ended('orderly', transactionOpen),
  },
  {
    name: 'postgres-paused',
    what: 'SIGSTOP: connections stay open and silent',
    lane,
    holdMinMs: 1_500,
    holdMaxMs: 8_000,
    async inject({ postgres }) {
      await postgres.pause();
      return () => postgres.resume();
    },
  },
  {
    name: 'postgres-disk-full',
    what: 'its disk, a small one of its own, is filled to the last byte',
    lane,
    on: ['native'],
    holdMinMs: 2_000,
    holdMaxMs: 5_000,
    async inject({ postgres, postgresDisk }) {
      if (postgresDisk === undefined) throw new Error('this run could not mount a disk for Postgres');
      await postgresDisk.fill();
      return async () => {
        await postgresDisk.free();
        // Without room for its log Postgres ends by itself, or keeps failing to recover.
        await postgres.end('immediate');
        await postgres.start();
      };
    },
  },
];

function ended(how: 'orderly' | 'immediate' | 'killed', ready: (platform: Platform) => Promise<void> = async () => {}) {
  return {
    lane,
    holdMinMs: 500,
    holdMaxMs: 5_000,
    async inject(platform: Platform) {
      await ready(platform);
      await platform.postgres.end(how);
      return () => platform.postgres.start();
    },
  } as const;
}

/** Resolves in the midst of a worker's transaction. Where none is seen in time, the shutdown comes as it may. */
async function transactionOpen({ backing }: Platform): Promise<void> {
  const database = openDatabase({
    databaseUrl: backing.databaseUrl,
    poolMax: 1,
    statementTimeoutMs: transactionWaitMs,
    applicationName: 'chaos',
  });
  try {
    await eventually(
      async () => {
        const { rowCount } = await database.pool.query(
          `select from pg_stat_activity where application_name = 'persistence-worker' and backend_xid is not null`,
        );
        return rowCount !== 0;
      },
      { timeoutMs: transactionWaitMs, intervalMs: 0 },
    ).catch(() => {});
  } finally {
    await database.close();
  }
}
