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

/** As the worker has it. */
const batchReadings = 2_000;
const lanes = 2;
const statementTimeoutMs = 60_000;
const rowsMeasured = 500_000;
/** Prime, so that it visits every device before any for the second time, and neighbours in a batch are none in the tables. */
const stride = 7_919;

export interface FleetWritesOptions {
  readonly devices: number;
  /** Readings of each device that are there already. With some hundreds each device's newest entry of the index is on a page of its own. */
  readonly history: number;
}

export interface FleetWrites {
  readonly rowsPerSecond: number;
  readonly postgresCpuMicros: number;
  readonly writerCpuMicros: number;
  readonly walBytes: number;
  /** More of it for a device's first reading after a checkpoint, whose pages are logged whole. */
  readonly walBytesAfterCheckpoint: number;
  /** On disk, with indexes: of all that is in the table. */
  readonly bytesPerRow: number;
  /** Of one device: registry, latest state and ledger, with their indexes. Not of a reading. */
  readonly bytesPerDevice: number;
  readonly othersCpuShare: number;
}

/**
 * What a stored reading costs the batch writer and Postgres where each device of a fleet sends one at a time, in no order. All of them
 * are known beforehand, and all were written to since the last checkpoint.
 * @returns costs of one reading
 */
export async function measureFleetWrites(
  context: StudyContext,
  { devices, history }: FleetWritesOptions,
): Promise<FleetWrites> {
  const { services } = context;
  await using _ = await withRareCheckpoints(services.databaseUrl);
  await using place = await freshPlace(services);
  await migrate(place.databaseUrl);
  const database = openDatabase({
    databaseUrl: place.databaseUrl,
    poolMax: lanes + 2,
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
      const lane = async () => {
        while (isWanted()) {
          const readings = batch();
          const { stored } = await writer.write(readings);
          if (stored !== readings.length) throw new Error(`${stored} readings of ${readings.length} were stored`);
        }
      };
      await Promise.all(Array.from({ length: lanes }, lane));
    };

    const measureWal = async (write: () => Promise<void>): Promise<number> => {
      const [walBefore, first] = [await walPosition(place.databaseUrl), next];
      await write();
      return ((await walPosition(place.databaseUrl)) - walBefore) / (next - first);
    };

    await writeUntil(devices);
    await run(place.databaseUrl, historyOf(history, startTs));
    // Else autovacuum does it while the clock runs, and what it logs is taken for the rows'.
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
      bytesPerRow: (await bytesOfTables(place.databaseUrl, isPartition)) / (next + devices * history),
      bytesPerDevice,
      othersCpuShare,
    };
  } finally {
    await database.close();
  }
}

/** None but ours, so that it is known which page is logged whole. The whole server goes by it, until it is disposed of. */
async function withRareCheckpoints(databaseUrl: string): Promise<AsyncDisposable> {
  const set = async (statement: string) => {
    await run(databaseUrl, statement);
    await run(databaseUrl, 'select pg_reload_conf()');
  };
  await set(`alter system set max_wal_size = '32GB'`);
  return { [Symbol.asyncDispose]: () => set('alter system reset max_wal_size') };
}

/** They lie within the tenth of a second before the next reading. */
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
