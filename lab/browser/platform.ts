import { join } from 'node:path';
import { chooseNginx } from '@fleetwire/platform/nginx/start';
import { Platform } from '@fleetwire/platform/platform';
import { freePort } from '@fleetwire/platform/processes/free-ports';
import { openDataDirectory } from '@fleetwire/platform/servers/data-directory';

export interface BrowserPlatform extends AsyncDisposable {
  /** The one address, of nginx. */
  readonly url: string;
  readonly platform: Platform;
}

/** Every service, as `npm start` runs them, behind nginx. The servers' vhost and database are its own. */
export async function startBrowserPlatform({
  amqpUrl,
  managementUrl,
  databaseUrl,
  folder,
  instances = 1,
}: {
  readonly amqpUrl: string;
  readonly managementUrl: string;
  readonly databaseUrl: string;
  /** Gets logs and nginx's files. */
  readonly folder: string;
  /** Of ingest-ws, and of persistence-worker. */
  readonly instances?: number;
}): Promise<BrowserPlatform> {
  await using started = new AsyncDisposableStack();
  const choice = chooseNginx({ mode: 'native', env: process.env, log: () => {} });
  choice.catch(() => {});
  const platform = await Platform.create({
    amqpUrl,
    databaseUrl,
    logDir: folder,
    env: () => ({ LOG_LEVEL: 'fatal', TRUST_PROXY_HOPS: '1', MANAGEMENT_URL: managementUrl }),
  });
  started.defer(() => platform.kill());
  const port = await freePort();
  const several = <Started>(start: () => Promise<Started>) => Promise.all(Array.from({ length: instances }, start));
  const workers = await several(() => platform.start('persistence-worker'));
  const api = await platform.start('query-api', {
    env: {
      WORKER_URLS: workers.map((worker) => worker.url).join(','),
      INGEST_URL: `http://127.0.0.1:${port}`,
      EXPORTS_DIR: join(folder, 'exports'),
      // It mints tokens of devices.
      AUTH_JWKS: JSON.stringify(platform.keys.privateJwks),
    },
  });
  const env = { QUERY_API_URL: api.url, REGISTRY_TOKEN: await platform.keys.token('ingest-ws', 'analyst') };
  const edges = await several(() => platform.start('ingest-ws', { env }));
  const directory = await openDataDirectory(join(folder, 'nginx'), true, () => {});
  started.defer(() => directory.release());
  const start = await choice;
  const nginx = await start({
    directory,
    port,
    ingest: edges.map((edge) => new URL(edge.url).host),
    queryApi: [new URL(api.url).host],
    accessLog: join(folder, 'access.log'),
  });
  started.defer(() => nginx.stop());
  const resources = started.move();
  return { url: nginx.url, platform, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
