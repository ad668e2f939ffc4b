import type { ServerMessage } from '@fleetwire/contracts/device-protocol';
import { openTestDatabase } from './database.ts';
import { createPlatform } from './platform.ts';
import { StoredDevice } from './stored-device.ts';

const env = { RETENTION_DAYS: '30', DRAIN_GRACE_MS: '0' };

export interface Servers {
  readonly amqpUrl: string;
  readonly databaseUrl: string;
}

/** A platform with devices that keep their readings until they are stored, and the truth about what they are told. */
export async function startStoredStack({ amqpUrl, databaseUrl }: Servers, workers = 1) {
  const platform = await createPlatform({ amqpUrl, databaseUrl }, env);
  const api = await platform.start('query-api');
  for (let n = 0; n < workers; n += 1) await platform.start('persistence-worker');
  const database = openTestDatabase(databaseUrl, { poolMax: 4 });
  const rows = async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
    (await database.pool.query<Row>(text, values)).rows;
  /** Of the claimed numbers, those without a row: asked for as soon as they are claimed. */
  const untrue: number[] = [];
  const checks: Promise<void>[] = [];
  const check = async (deviceId: string, seqs: readonly number[]): Promise<void> => {
    const found = await rows<{ seq: number }>('select seq from telemetry where device_id = $1', [deviceId]);
    const stored = new Set(found.map(({ seq }) => seq));
    untrue.push(...seqs.filter((seq) => !stored.has(seq)));
  };
  return {
    platform,
    api,
    workers: platform.services['persistence-worker'],
    database,
    rows,
    edge: (more: NodeJS.ProcessEnv = {}) =>
      platform.start('ingest-ws', { env: { QUERY_API_URL: api.url, HEARTBEAT_INTERVAL_MS: '2000', ...more } }),
    device: async (deviceId: string, urls: readonly string[]) =>
      new StoredDevice({
        urls,
        deviceId,
        token: await platform.keys.token(deviceId, 'device'),
        onClaim: (seqs) => void checks.push(check(deviceId, seqs)),
      }),
    untrueClaims: async () => {
      await Promise.all(checks);
      return untrue;
    },
    /** Lets every write of readings wait until it is released. */
    blockReadings: async () => {
      const client = await database.pool.connect();
      await client.query('begin');
      await client.query('lock table readings in exclusive mode');
      return async () => {
        await client.query('rollback');
        client.release();
      };
    },
  };
}

export function lastOf(messages: readonly ServerMessage[], type: 'ack' | 'stored'): number | undefined {
  let last: number | undefined;
  for (const message of messages)
    if ((message.type === 'ack' || message.type === 'stored') && message.type === type) last = message.upTo;
  return last;
}
