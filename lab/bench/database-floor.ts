import { float8Array, int2Array, int4Array, int8Array, timestamptzArray } from '@fleetwire/store/binary-arrays';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import pg from 'pg';
import { fleetReadings } from './workload.ts';

const batchRows = 1_000;
const warmUpBatches = 20;

/**
 * What Postgres stores when nothing else runs: the same rows with the identity as primary key, over one connection, in batches through
 * `unnest … on conflict do nothing`, each its own transaction. The next batch is encoded while the current one is written.
 * @returns rows per second
 */
export async function measureDatabaseFloor(
  databaseUrl: string,
  options: { devices: number; readingsPerFrame: number; seconds: number },
): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(`
      create table floor_readings (
        ts timestamptz not null,
        received_at timestamptz not null,
        seq int8 not null,
        device_key int4 not null,
        shape_key int2 not null,
        numbers float8[] not null,
        primary key (device_key, seq)
      )`);
    const readings = fleetReadings(options.devices, options.readingsPerFrame, Date.now());
    const keys = new Map(Array.from({ length: options.devices }, (_, index) => [`bench-${index}`, index + 1]));
    const nextBatch = () =>
      encode(
        Array.from({ length: batchRows }, () => readings.next().value),
        keys,
      );

    let batch = nextBatch();
    const writeOne = async (): Promise<void> => {
      const writing = client.query(batch);
      batch = nextBatch();
      const { rowCount } = await writing;
      if (rowCount !== batchRows) throw new Error(`the floor's batch stored ${rowCount} rows of ${batchRows}`);
    };
    for (let n = 0; n < warmUpBatches; n += 1) await writeOne();
    const startedAt = performance.now();
    const endsAt = startedAt + options.seconds * 1_000;
    let rows = 0;
    while (performance.now() < endsAt) {
      await writeOne();
      rows += batchRows;
    }
    return rows / ((performance.now() - startedAt) / 1_000);
  } finally {
    await client.end();
  }
}

function encode(readings: readonly IdentifiedReading[], keys: ReadonlyMap<string, number>): pg.QueryConfig {
  const column = (name: string) => float8Array(readings.map(({ metrics }) => metrics[name] as number));
  return {
    name: 'floor',
    text: `
      insert into floor_readings (ts, received_at, seq, device_key, shape_key, numbers)
      select n.ts, n.received_at, n.seq, n.device_key, n.shape_key, array[n.a, n.b, n.c, n.d, n.e]
      from unnest($1::timestamptz[], $2::timestamptz[], $3::int8[], $4::int4[], $5::int2[], $6::float8[], $7::float8[], $8::float8[], $9::float8[], $10::float8[])
        as n (ts, received_at, seq, device_key, shape_key, a, b, c, d, e)
      on conflict do nothing`,
    values: [
      timestamptzArray(readings.map(({ ts }) => ts)),
      timestamptzArray(readings.map(({ receivedAt }) => receivedAt)),
      int8Array(readings.map(({ seq }) => seq)),
      int4Array(readings.map(({ deviceId }) => keys.get(deviceId) ?? 0)),
      int2Array(readings.map(() => 1)),
      ...['humidity', 'pressure', 'rssi', 'temperature', 'voltage'].map(column),
    ],
  };
}
