import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { createLogger } from '@fleetwire/runtime/logger';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { ensurePartitions, existingPeriods } from '@fleetwire/store/partitions';
import { expect, it, onTestFinished } from 'vitest';
import { runMaintenance } from '../src/maintenance.ts';

it('maintenance continues where partitions past retention cannot be dropped because another session builds rollups', async () => {
  const databaseUrl = await freshDatabase();
  await migrate(databaseUrl);
  const { pool, close } = openDatabase({
    databaseUrl,
    poolMax: 4,
    statementTimeoutMs: 1_000,
    applicationName: 'test',
  });
  cleanUp(close);
  const past = Date.UTC(2020, 0, 1);
  const [partition] = await ensurePartitions(pool, { times: [past], now: Date.now() });
  const builder = await pool.connect();
  onTestFinished(() => builder.release(true));
  await builder.query('select pg_advisory_lock(4602715115)');

  const ending = new AbortController();
  onTestFinished(() => ending.abort());
  const { promise: hasContinued, resolve } = Promise.withResolvers<void>();
  const maintenance = runMaintenance({
    pool,
    shapes: { count: 0, countAgain: async () => resolve() },
    verify: async () => {},
    config: {
      retentionDays: 30,
      deadLetterRetentionDays: 30,
      deadLetterOpenRetentionDays: 30,
      reconciliationRetentionDays: 30,
      positionsRetentionDays: 30,
      connectionsRetentionDays: 30,
      commandsRetentionDays: 30,
    },
    logger: await createLogger({ name: 'test', level: 'silent' }),
    signal: ending.signal,
  });
  await hasContinued;
  ending.abort();
  await maintenance;
  expect(await existingPeriods(pool)).toContainEqual(partition);
});
