import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { createBatchWriter } from '@fleetwire/store/batch-writer';
import { openDatabase, type Database } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { timesOf } from '@fleetwire/store/positions/settled-envelope';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';

export interface TestStore {
  readonly databaseUrl: string;
  readonly database: Database;
  /** @param numbers of the envelopes of edge `edge` that are settled with these readings */
  write(readings: readonly IdentifiedReading[], numbers?: readonly number[]): Promise<unknown>;
}

/** A fresh, migrated database, and the worker's own writer to fill it. */
export async function freshStore(): Promise<TestStore> {
  const databaseUrl = await freshDatabase();
  await migrate(databaseUrl);
  const options = { databaseUrl, poolMax: 2, statementTimeoutMs: 20_000, applicationName: 'test' };
  const writing = openDatabase({ ...options, pipelined: true });
  const database = openDatabase(options);
  cleanUp(() => Promise.all([writing.close(), database.close()]));
  const writer = createBatchWriter(writing.pool);
  return {
    databaseUrl,
    database,
    write: (readings, numbers = []) =>
      writer.write(
        readings,
        'first',
        numbers.map((number) => ({ position: { instanceId: 'edge', number, part: '' }, times: timesOf(readings) })),
      ),
  };
}

/** A reading of `pump-1`, with `changes`. */
export function reading(changes: Partial<IdentifiedReading>): IdentifiedReading {
  return {
    deviceId: 'pump-1',
    epoch: 'boot-1',
    seq: 0,
    ts: 0,
    receivedAt: Date.UTC(2026, 0, 2),
    metrics: { temperature: 20 },
    ...changes,
  };
}
