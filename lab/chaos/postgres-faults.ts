import { eventually } from '@fleetwire/platform/testing/eventually';
import { openDatabase } from '@fleetwire/store/database';
import type { Fault } from './fault.ts';
import type { ChaosPlatform } from './platform.ts';

const component = 'postgres';
const transactionWaitMs = 2_000;

export const postgresFaults: readonly Fault[] = [
  {
    name: 'postgres-immediate',
    what: 'immediate shutdown without a checkpoint; recovers from the WAL',
    ...ended('immediate'),
  },
  { name: 'postgres-killed', what: 'SIGKILL of all its processes; recovers from the WAL', ...ended('killed') },
  {
    name: 'postgres-restarted-mid-transaction',
    what: 'fast shutdown while a worker has a transaction open',
    ...ended('orderly', untilTransactionOpen),
  },
  {
    name: 'postgres-paused',
    what: 'hangs (SIGSTOP): connections stay open and silent',
    component,
    holdMinMs: 1_500,
    holdMaxMs: 8_000,
    async inject({ postgres }) {
      await postgres.pause();
      return () => postgres.resume();
    },
  },
  {
    name: 'postgres-disk-full',
    what: 'its disk (2 GiB, tmpfs) is filled to the last byte',
    component,
    on: ['native'],
    holdMinMs: 2_000,
    holdMaxMs: 5_000,
    async inject({ postgres, postgresDisk }) {
      if (postgresDisk === undefined) throw new Error('this run could not mount a disk for Postgres');
      await postgresDisk.fill();
      return async () => {
        await postgresDisk.free();
        // Without room for its WAL, Postgres exits, or fails to recover again and again.
        await postgres.end('immediate');
        await postgres.start();
      };
    },
  },
];

function ended(
  how: 'orderly' | 'immediate' | 'killed',
  ready: (platform: ChaosPlatform) => Promise<void> = async () => {},
) {
  return {
    component,
    holdMinMs: 500,
    holdMaxMs: 5_000,
    async inject(platform: ChaosPlatform) {
      await ready(platform);
      await platform.postgres.end(how);
      return () => platform.postgres.start();
    },
  } as const;
}

/** Resolves while a worker has a transaction open; without one, when the time is up. */
async function untilTransactionOpen({ backing }: ChaosPlatform): Promise<void> {
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
        if (rowCount === 0) throw new Error('no worker has a transaction open');
      },
      { timeoutMs: transactionWaitMs, intervalMs: 0 },
    ).catch(() => {});
  } finally {
    await database.close();
  }
}
