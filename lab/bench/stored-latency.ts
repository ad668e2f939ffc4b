import { setTimeout as sleep } from 'node:timers/promises';
import { startDeviceClient } from '../fleet/device-client.ts';
import pg from 'pg';
import { metricsAt } from './workload.ts';

const pauseMaxMs = 25;
const probes = 2;

/**
 * From sending a reading until its row is visible to other transactions, for probes that send beside the load, each one reading at a time. A
 * function in the database looks for the row every millisecond, which costs next to nothing.
 * @returns milliseconds, one value per reading
 */
export async function measureStoredLatency(options: {
  webSocketUrl: string;
  databaseUrl: string;
  tokenOf: (deviceId: string) => Promise<string>;
  signal: AbortSignal;
}): Promise<number[]> {
  const samples = await Promise.all(Array.from({ length: probes }, (_, index) => probe(`probe-${index}`, options)));
  return samples.flat();
}

async function probe(
  deviceId: string,
  { webSocketUrl, databaseUrl, tokenOf, signal }: Parameters<typeof measureStoredLatency>[0],
): Promise<number[]> {
  const database = new pg.Client({ connectionString: databaseUrl });
  const client = startDeviceClient({ url: webSocketUrl, deviceId, token: await tokenOf(deviceId) });
  const samples: number[] = [];
  await database.connect();
  try {
    await database.query(waitFunction);
    let ts = Date.now();
    const store = async (): Promise<void> => {
      ts = Math.max(ts + 1, Date.now());
      const sentAt = performance.now();
      client.send({ ts, metrics: { ...metricsAt(0, ts) } });
      await database.query({
        name: 'wait',
        text: 'select pg_temp.wait_for($1, to_timestamp($2::float8 / 1000))',
        values: [deviceId, ts],
      });
      samples.push(performance.now() - sentAt);
    };
    // The first reading registers the device.
    await store();
    samples.length = 0;
    while (!signal.aborted) {
      await store();
      await sleep(Math.random() * pauseMaxMs);
    }
    return samples;
  } finally {
    await client.stop();
    await database.end();
  }
}

const waitFunction = `
  create or replace function pg_temp.wait_for(wanted text, at timestamptz) returns void language plpgsql as $$
  declare key int4;
  begin
    loop
      select device_key into key from devices where device_id = wanted;
      exit when key is not null;
      perform pg_sleep(0.001);
    end loop;
    loop
      exit when exists (select from readings where device_key = key and ts = at);
      perform pg_sleep(0.001);
    end loop;
  end $$`;
