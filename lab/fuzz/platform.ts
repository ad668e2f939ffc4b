import { join } from 'node:path';
import type { Role } from '@fleetwire/contracts/access';
import { createFreshDatabase, createFreshVhost } from '@fleetwire/platform/servers/fresh';
import { createKeys } from '@fleetwire/platform/keys';
import { manage } from '@fleetwire/platform/servers/management';
import { Platform } from '@fleetwire/platform/platform';
import type { RestartPolicy } from '@fleetwire/platform/processes/restart-policy';
import { type TokenName, tokenSubjects } from './http-inputs.ts';
import { nastyTexts } from './nasty.ts';

export interface Servers {
  readonly amqpUrl: string;
  readonly managementUrl: string;
  readonly databaseUrl: string;
}

export interface FuzzedPlatform extends AsyncDisposable {
  readonly databaseUrl: string;
  readonly urls: Readonly<Record<'query-api' | 'ingest-ws', string>>;
  readonly webSocketUrl: string;
  readonly tokens: Readonly<Record<TokenName, string | undefined>>;
  readonly deviceToken: (deviceId: string) => Promise<string>;
  readonly gatewayToken: (subject: string) => Promise<string>;
}

/** Limits per caller that would answer a few callers with 429 and little else: raised here, and named in docs/fuzz.md. All others stay. */
const raisedLimits = {
  'ingest-ws': { HTTP_REQUESTS_PER_MINUTE_MAX: '10000000', UNPRODUCTIVE_FRAMES_PER_SECOND_MAX: '100000' },
  'query-api': {
    RATE_LIMIT_PER_MINUTE: '1000000',
    QUERY_COST_PER_MINUTE: '10000000000',
    DEVICE_QUERY_COST_PER_MINUTE: '10000000000',
  },
  'persistence-worker': {},
} as const;

/** A crash is a failure; the run goes on, to see what else there is. */
const restartAlways: RestartPolicy = {
  restartsMax: Infinity,
  steadyAfterMs: 0,
  backoff: { baseMs: 200, capMs: 200 },
};

/** One instance of each service, on a vhost and a database of its own. */
export async function startFuzzedPlatform(
  servers: Servers,
  { logDir, onCrash }: { readonly logDir: string; readonly onCrash: (sentence: string) => void },
): Promise<FuzzedPlatform> {
  await using acquired = new AsyncDisposableStack();
  const vhost = acquired.use(await createFreshVhost(servers, 'fuzz'));
  const database = acquired.use(await createFreshDatabase(servers.databaseUrl, 'fuzz'));
  const platform = await Platform.create({
    amqpUrl: vhost.url,
    databaseUrl: database.url,
    env: (service) => ({
      LOG_LEVEL: 'error',
      ...raisedLimits[service],
      // With a private key it mints tokens, with a folder it runs export jobs; without them every valid request for one would be answered 501.
      ...(service === 'query-api' && {
        EXPORTS_DIR: join(logDir, 'exports'),
        AUTH_JWKS: JSON.stringify(platform.keys.privateJwks),
        MANAGEMENT_URL: servers.managementUrl,
      }),
    }),
    logDir,
    ownSession: true,
    restart: restartAlways,
    onCrash: ({ description }) => onCrash(description),
  });
  acquired.defer(() => platform.kill());
  await platform.startAll({ 'ingest-ws': 1, 'persistence-worker': 1 });
  await platform.start('query-api', { env: { INGEST_URL: platform.services['ingest-ws'][0]!.url } });
  await publishUnreadableMessages(servers.managementUrl, new URL(vhost.url).pathname.slice(1));

  const { services, keys } = platform;
  const urls = { 'ingest-ws': services['ingest-ws'][0]!.url, 'query-api': services['query-api'][0]!.url };
  const tokenOf = async (role: Role) => keys.token(tokenSubjects[role]!, role);
  const tokens = {
    device: await tokenOf('device'),
    analyst: await tokenOf('analyst'),
    operator: await tokenOf('operator'),
    admin: await tokenOf('admin'),
    none: undefined,
    garbage: 'x.y.z',
    foreign: await (await createKeys()).token(tokenSubjects.admin!, 'admin'),
    nasty: nastyTexts.join('').replace(/[^\x20-\x7e]/g, ''),
  };
  const stack = acquired.move();
  return {
    databaseUrl: database.url,
    urls,
    webSocketUrl: `${urls['ingest-ws'].replace('http', 'ws')}/ws`,
    tokens,
    deviceToken: (deviceId) => keys.token(deviceId, 'device'),
    gatewayToken: (subject) => keys.token(subject, 'admin'),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const unreadableMessages = [
  ...['', 'not an envelope', '{"readings":[]}', '[1]', '{"a":"\\u0000"}'].map((text) => Buffer.from(text)),
  // Half a surrogate pair, which is not valid UTF-8.
  Buffer.from([0xed, 0xa0, 0x80]),
];

/** Messages that the worker dead-letters, so that the routes of dead letters have something to work on. */
async function publishUnreadableMessages(managementUrl: string, vhost: string): Promise<void> {
  for (const payload of unreadableMessages)
    await manage(managementUrl, 'POST', `/exchanges/${vhost}/amq.default/publish`, {
      properties: { delivery_mode: 2 },
      routing_key: 'telemetry.persist',
      payload: payload.toString('base64'),
      payload_encoding: 'base64',
    });
}
