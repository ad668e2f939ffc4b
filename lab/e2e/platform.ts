import { tokenAudience, tokenIssuer, type Role } from '@fleetwire/contracts/access';
import { readIngestConfiguration } from '@fleetwire/ingest-ws/configuration';
import { startIngest } from '@fleetwire/ingest-ws/start-ingest';
import { readWorkerConfiguration } from '@fleetwire/persistence-worker/configuration';
import { startWorker } from '@fleetwire/persistence-worker/start-worker';
import { readQueryApiConfiguration } from '@fleetwire/query-api/configuration';
import { startQueryApi } from '@fleetwire/query-api/start-query-api';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createLogger } from '@fleetwire/runtime/logger';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { expect } from 'vitest';

/** As far as tests look into it. */
export interface LatestState {
  deviceId: string;
  ts: string;
  metrics: Record<string, unknown>;
}
export interface ReadingsPage {
  data: { ts: string; seq: number; metrics: Record<string, unknown> }[];
  page: { next: string | null };
}

/** All three services, wired as in production, on a vhost and a database of their own. */
export async function startPlatform() {
  const [amqpUrl, databaseUrl] = [await freshVhost(), await freshDatabase()];
  await migrate(databaseUrl);
  const { privateJwks, publicJwks } = await generateKeySet();
  const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
  const token = async (subject: string, role: Role) =>
    (await minter.mint({ subject, role, expiresInSeconds: 3_600 })).token;
  const logger = await createLogger({ name: 'e2e', level: 'silent' });

  const common = { PORT: '0', AMQP_URL: amqpUrl, DATABASE_URL: databaseUrl, AUTH_JWKS: JSON.stringify(publicJwks) };
  const ingest = await startIngest({ config: readIngestConfiguration(common), logger });
  const worker = await startWorker({ config: readWorkerConfiguration(common), logger });
  const api = await startQueryApi({ config: readQueryApiConfiguration(common), logger });
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs: 30_000, applicationName: 'e2e' });
  cleanUp(async () => {
    await ingest.stop();
    await worker.stop();
    await api.stop();
    await database.close();
  });
  for (const { url } of [ingest, worker, api]) {
    await eventually(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), { timeoutMs: 30_000 });
  }

  const analyst = await token('ada', 'analyst');
  return {
    ingest,
    worker,
    api,
    token,
    /** The API's answer, as an analyst. */
    get: async <T = unknown>(path: string): Promise<T> => {
      const response = await fetch(`${api.url}/api/v1${path}`, { headers: { authorization: `Bearer ${analyst}` } });
      return (await response.json()) as T;
    },
    /** Posts telemetry. */
    post: (body: unknown, bearer: string) =>
      fetch(`${ingest.url}/api/v1/telemetry`, {
        method: 'POST',
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    /** Rows in the database, by device. */
    rows: async (): Promise<Record<string, number>> => {
      const { rows } = await database.pool.query<{ device_id: string; n: number }>(
        'select device_id, count(*)::int4 as n from telemetry group by device_id order by device_id',
      );
      return Object.fromEntries(rows.map(({ device_id, n }) => [device_id, n]));
    },
    /** What the worker has counted since it started: `stored`, `duplicate` … */
    counted: async (outcome: string): Promise<number> => {
      const text = await (await fetch(`${worker.url}/metrics`)).text();
      const line = text
        .split('\n')
        .find((one) => one.startsWith(`fleetwire_worker_readings_total{outcome="${outcome}"`));
      return Number(line?.split(' ')[1] ?? 0);
    },
  };
}
