import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import WebSocket from 'ws';
import { startDeviceClient } from '../fleet/device-client.ts';
import { openTestDatabase } from './database.ts';
import { createPlatform, webSocketUrlOf } from './platform.ts';

/** The members that the tests read. */
export interface Message {
  type: string;
  phase?: string;
  reason?: string;
  pendingId?: string;
  cursor?: string;
  retryable?: boolean;
  readings?: { deviceId: string; epoch: string; seq: number }[];
}

const live = { INTEREST_REFRESH_MS: '500', INTEREST_TTL_MS: '2000', RATE_LIMIT_PER_MINUTE: '100000' };

/**
 * Two edges that are watching instances too, a worker and query-api.
 * @param env of all services
 * @param edgeAmqpUrl where the edges reach the broker, if that is not where the others do
 */
export async function startLivePlatform(
  env: NodeJS.ProcessEnv = {},
  { amqpUrl, edgeAmqpUrl }: { amqpUrl?: string; edgeAmqpUrl?: string } = {},
) {
  const databaseUrl = await freshDatabase();
  const platform = await createPlatform({ amqpUrl: amqpUrl ?? (await freshVhost()), databaseUrl }, { ...live, ...env });
  const api = await platform.start('query-api');
  const worker = await platform.start('persistence-worker');
  const edges = await Promise.all(
    [1, 2].map(() =>
      platform.start('ingest-ws', {
        env: { QUERY_API_URL: api.url, DRAIN_GRACE_MS: '0', ...(edgeAmqpUrl && { AMQP_URL: edgeAmqpUrl }) },
      }),
    ),
  );
  const database = openTestDatabase(databaseUrl);
  const stored = async (): Promise<Set<string>> => {
    const { rows } = await database.pool.query<{ id: string }>(
      `select device_id || ' ' || epoch || ' ' || seq as id from telemetry`,
    );
    return new Set(rows.map(({ id }) => id));
  };
  const device = async (edge: ServiceProcess, deviceId: string) => {
    const client = startDeviceClient({
      url: webSocketUrlOf(edge),
      deviceId,
      token: await platform.keys.token(deviceId, 'device'),
      backoff: { baseMs: 50, capMs: 500 },
    });
    cleanUp(() => client.stop({ settleTimeoutMs: 0 }));
    return client;
  };
  return { platform, api, worker, edges: edges as [ServiceProcess, ServiceProcess], database, stored, device };
}

/** A client as docs/live.md describes it: keeps the newest cursor, and subscribes with it again after any break. */
export function startWatcher(url: string, token: string, filter: object) {
  const received = new Map<string, number>();
  const messages: Message[] = [];
  let cursor: string | undefined;
  let repeatedInOneSubscription = 0;
  let subscriptions = 0;
  let isStopped = false;
  let current: WebSocket | undefined;
  const watch = (): void => {
    if (isStopped) return;
    const socket = new WebSocket(url, 'fleetwire.v1.json', { headers: { authorization: `Bearer ${token}` } });
    current = socket;
    const own = new Set<string>();
    const subscribe = (): void => {
      if (socket.readyState !== WebSocket.OPEN) return;
      subscriptions += 1;
      const start = cursor === undefined ? { since: 'now-15m' } : { cursor };
      socket.send(JSON.stringify({ type: 'subscribe', id: 's', ...filter, ...start }));
    };
    socket.on('open', subscribe);
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString('utf8')) as Message;
      messages.push(message);
      cursor = message.cursor ?? cursor;
      if (message.type === 'error' && message.retryable === true) setTimeout(subscribe, 500);
      for (const { deviceId, epoch, seq } of message.type === 'data_update' ? message.readings! : []) {
        const id = `${deviceId} ${epoch} ${seq}`;
        if (own.has(id)) repeatedInOneSubscription += 1;
        own.add(id);
        received.set(id, (received.get(id) ?? 0) + 1);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => setTimeout(watch, 100));
  };
  watch();
  cleanUp(() => {
    isStopped = true;
    current?.terminate();
  });
  return {
    messages,
    received,
    break: () => current?.terminate(),
    state: () => ({ subscriptions, repeatedInOneSubscription }),
    has: (type: string) => messages.some((message) => message.type === type),
  };
}

/** A stream of server-sent events. */
export async function openEvents(url: string, bearer: string, headers: Record<string, string> = {}) {
  const ending = new AbortController();
  cleanUp(() => ending.abort());
  const response = await fetch(url, {
    headers: { authorization: `Bearer ${bearer}`, ...headers },
    signal: ending.signal,
  });
  const events: { event: string; id: string | undefined; data: Message }[] = [];
  const ended = (async () => {
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + chunk).split('\n\n');
      rest = parts.pop()!;
      for (const part of parts) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(part)?.[1];
        const [event, data] = [field('event'), field('data')];
        if (event !== undefined && data !== undefined)
          events.push({ event, id: field('id'), data: JSON.parse(data) as Message });
      }
    }
  })().catch(() => {});
  const seqs = () =>
    events.flatMap(({ event, data }) => (event === 'data_update' ? data.readings!.map(({ seq }) => seq) : []));
  return { response, events, seqs, ended, end: () => ending.abort() };
}
