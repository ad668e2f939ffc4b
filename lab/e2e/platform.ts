import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Platform } from '@fleetwire/platform/platform';
import { freePort } from '@fleetwire/platform/processes/free-ports';
import { type ServiceName, ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { migrate } from '@fleetwire/store/migrate';
import { openTestDatabase } from './database.ts';

/** The members that the tests read. */
export interface LatestState {
  deviceId: string;
  ts: string;
  metrics: Record<string, unknown>;
}
export interface ReadingsPage {
  data: { ts: string; seq: number; metrics: Record<string, unknown> }[];
  page: { next: string | null };
}

/** A log that holds nothing but the reason for which a service exited. */
const quiet = { LOG_LEVEL: 'fatal' };

/**
 * No service yet, on these servers: `await platform.start('ingest-ws')`. Killed after the test, or the suite, that created it.
 * @param env of all services
 */
export async function createPlatform(
  { amqpUrl, databaseUrl }: { readonly amqpUrl: string; readonly databaseUrl: string },
  env: NodeJS.ProcessEnv = {},
): Promise<Platform> {
  // Without a process for it.
  await migrate(databaseUrl);
  const platform = await Platform.create({
    amqpUrl,
    databaseUrl,
    isMigrated: true,
    env: () => ({ ...quiet, ...env }),
    logDir: temporaryLogDir(),
  });
  cleanUp(() => platform.kill());
  return platform;
}

/** One service with an environment of its own, killed after the test, or the suite, that started it. */
export async function startService(service: ServiceName, env: NodeJS.ProcessEnv): Promise<ServiceProcess> {
  const process = new ServiceProcess({
    service,
    port: await freePort(),
    env: { ...quiet, ...env },
    logFile: join(temporaryLogDir(), `${service}.log`),
  });
  cleanUp(() => process.kill());
  process.start();
  return process;
}

function temporaryLogDir(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-e2e-'));
  cleanUp(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** All three services on a vhost and a database of their own. */
export async function startPlatform() {
  const servers = { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() };
  const platform = await createPlatform(servers);
  await platform.startAll({ 'ingest-ws': 1, 'persistence-worker': 1, 'query-api': 1 });
  const { services, keys } = platform;
  const [ingest, worker, api] = [
    services['ingest-ws'][0]!,
    services['persistence-worker'][0]!,
    services['query-api'][0]!,
  ];
  const database = openTestDatabase(servers.databaseUrl);
  const analyst = await keys.token('ada', 'analyst');
  return {
    ingest,
    worker,
    api,
    /** One more instance of a service. */
    startBeside: (service: ServiceName, env: NodeJS.ProcessEnv) => platform.start(service, { env }),
    /** Where devices connect. */
    webSocketUrl: webSocketUrlOf(ingest),
    token: keys.token,
    /** The API's answer to an analyst. */
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
    counted: (outcome: string): Promise<number> =>
      worker.metric(`fleetwire_worker_readings_total{outcome="${outcome}"}`),
  };
}

export function webSocketUrlOf({ url }: ServiceProcess): string {
  return `${url.replace('http', 'ws')}/ws`;
}
