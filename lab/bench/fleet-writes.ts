import { createBatchWriter } from '@fleetwire/store/batch-writer';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import pg from 'pg';
import { freshPlace } from './fresh.ts';
import { forwardersOf } from './platform.ts';
import { serverBehind } from './process-usage.ts';
import type { StudyContext } from './study.ts';
import { bytesOf, tableSizes } from './table-sizes.ts';
import { startUsageMeter } from './usage-meter.ts';
import { readingAt } from './workload.ts';

/** The defaults of persistence-worker. */
const batchReadings = 2_000;
const transactionsMax = 2;
const statementTimeoutMs = 60_000;
const rowsMeasured = 500_000;
/** A prime, so that every device comes up once before any comes up again, and neighbours in a batch are not neighbours in the tables. */
const stride = 7_919;

export interface FleetWritesOptions {
  readonly devices: number;
  /** Readings of each device in the table before. With some hundreds, each device's newest index entry is on a page of its own. */
  readonly storedPerDevice: number;
}

export interface FleetWrites {
  readonly rowsPerSecond: number;
  readonly postgresCpuMicros: number;
  readonly writerCpuMicros: number;
  readonly walBytes: number;
  /** Additional WAL for a device's first reading after a checkpoint, whose pages are logged whole (full_page_writes). */
  readonly walBytesAfterCheckpoint: number;
  /** On disk, with indexes. */
  readonly bytesPerRow: number;
  /** On disk, of one device without its readings: registry, latest state and sequence ledger, with indexes. */
  readonly bytesPerDevice: number;
  readonly othersCpuShare: number;
}

/**
 * What storing a reading costs the batch writer and Postgres when each device of a fleet sends one at a time, in no particular order. All
 * devices are known beforehand, and all were written to since the last checkpoint.
 * @returns costs per reading
 */
export async function measureFleetWrites(
  context: StudyContext,
  { devices, storedPerDevice }: FleetWritesOptions,
): Promise<FleetWrites> {
  const { services } = context;
  await using _ = await withRareCheckpoints(services.databaseUrl);
  await using place = await freshPlace(services);
  await migrate(place.databaseUrl);
  // Its readings are in order: none lies below the horizon of rollups, where a tile would be marked.
  await run(
    place.databaseUrl,
    'update rollup_state set horizon = horizon - 2, built_from = horizon - 2, built_until = horizon - 2',
  );
  const database = openDatabase({
    databaseUrl: place.databaseUrl,
    poolMax: transactionsMax + 2,
    statementTimeoutMs,
    applicationName: 'bench',
    pipelined: true,
  });
  try {
    const writer = createBatchWriter(database.pool);
    const startTs = Date.now() - 3_600_000;
    let next = 0;
    const batch = (): IdentifiedReading[] =>
      Array.from({ length: batchReadings }, () => {
        const reading = readingAt((next * stride) % devices, Math.floor(next / devices) + 1, startTs);
        next += 1;
        return reading;
      });
    const writeUntil = async (end: number): Promise<void> => {
      const isWanted = () => next < end;
      const writeInSequence = async () => {
        while (isWanted()) {
          const readings = batch();
          const { stored } = await writer.write(readings);
          if (stored !== readings.length) throw new Error(`${stored} readings of ${readings.length} were stored`);
        }
      };
      await Promise.all(Array.from({ length: transactionsMax }, writeInSequence));
    };

    const measureWal = async (write: () => Promise<void>): Promise<number> => {
      const [walBefore, first] = [await walPosition(place.databaseUrl), next];
      await write();
      return ((await walPosition(place.databaseUrl)) - walBefore) / (next - first);
    };

    await writeUntil(devices);
    await run(place.databaseUrl, historyOf(storedPerDevice, startTs));
    // Otherwise autovacuum does it during the measurement, and its WAL is counted as that of the rows.
    await run(place.databaseUrl, 'vacuum (freeze, analyze)');
    const bytesPerDevice = (await bytesOfTables(place.databaseUrl, (table) => deviceTables.has(table))) / devices;
    await run(place.databaseUrl, 'checkpoint');
    const walBytesFirst = await measureWal(() => writeUntil(next + devices));

    const first = next;
    const meter = await startUsageMeter(
      { postgres: await serverBehind(services.databaseUrl) },
      await forwardersOf(services),
    );
    const cpuBefore = process.cpuUsage();
    const startedAt = performance.now();
    const walBytes = await measureWal(() => writeUntil(next + rowsMeasured));
    const seconds = (performance.now() - startedAt) / 1_000;
    const cpu = process.cpuUsage(cpuBefore);
    const { processes, othersCpuShare } = await meter.stop();
    const rows = next - first;
    return {
      rowsPerSecond: rows / seconds,
      postgresCpuMicros: ((processes['postgres']?.cpuSeconds ?? 0) * 1e6) / rows,
      writerCpuMicros: (cpu.user + cpu.system) / rows,
      walBytes,
      walBytesAfterCheckpoint: Math.max(0, walBytesFirst - walBytes),
      bytesPerRow: (await bytesOfTables(place.databaseUrl, isPartition)) / (next + devices * storedPerDevice),
      bytesPerDevice,
      othersCpuShare,
    };
  } finally {
    await database.close();
  }
}

/** Prevents checkpoints other than ours, so that it is known which pages are logged whole. Applies to the whole server until it is disposed of. */
async function withRareCheckpoints(databaseUrl: string): Promise<AsyncDisposable> {
  const set = async (statement: string) => {
    await run(databaseUrl, statement);
    await run(databaseUrl, 'select pg_reload_conf()');
  };
  await set(`alter system set max_wal_size = '32GB'`);
  return { [Symbol.asyncDispose]: () => set('alter system reset max_wal_size') };
}

/** The inserted readings lie within the tenth of a second before the next one. */
function historyOf(readings: number, startTs: number): string {
  return `
    insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers)
    select to_timestamp(${startTs} / 1000.0) + n * interval '100 microseconds', now(), -n, s.device_key, s.stream_key,
      (select max(shape_key) from shapes), '{1,2,3,4,5}'
    from (select * from streams order by device_key) s, generate_series(1, ${readings}) n`;
}

const deviceTables = new Set(['devices', 'streams', 'device_latest', 'sequence_blocks']);

const isPartition = (table: string) => table.startsWith('readings_');

async function bytesOfTables(databaseUrl: string, isCounted: (table: string) => boolean): Promise<number> {
  const sizes = await tableSizes(databaseUrl);
  return sizes.filter(({ table }) => isCounted(table)).reduce((sum, size) => sum + bytesOf(size), 0);
}

async function walPosition(databaseUrl: string): Promise<number> {
  const [row] = await run(databaseUrl, `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as bytes`);
  return (row as { bytes: number }).bytes;
}

async function run(databaseUrl: string, statement: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}
