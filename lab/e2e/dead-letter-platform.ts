import { randomUUID } from 'node:crypto';
import { tokenAudience, tokenIssuer, type Role } from '@fleetwire/contracts/access';
import { encodeEnvelope, envelopeSchemaVersion, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, exchanges, routingKeys } from '@fleetwire/broker/topology';
import { readWorkerConfiguration } from '@fleetwire/persistence-worker/configuration';
import { startWorker } from '@fleetwire/persistence-worker/start-worker';
import { readQueryApiConfiguration } from '@fleetwire/query-api/configuration';
import type { DeadLetterDetails, DeadLetterEvent, Replay } from '@fleetwire/query-api/dead-letters/schemas';
import { startQueryApi } from '@fleetwire/query-api/start-query-api';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createLogger } from '@fleetwire/runtime/logger';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import type { Static } from 'typebox';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { compareAnswersOf } from '@fleetwire/platform/testing/documented-answers';
import { expect } from 'vitest';

/** All members that an answer may have; which it has depends on the request. */
interface Body
  extends
    Static<typeof DeadLetterDetails>,
    Pick<Static<typeof Replay>, 'state' | 'source' | 'createdBy' | 'counts'>,
    Pick<Static<typeof DeadLetterEvent>, 'action' | 'details' | 'replayId'> {
  readonly data: Body[];
  readonly page: { readonly next: string | null };
  readonly errors: { readonly field: string; readonly detail: string }[];
  readonly count: number;
}

export interface Answer {
  readonly status: number;
  readonly body: Body;
}

export type DeadLetterPlatform = Awaited<ReturnType<typeof startDeadLetterPlatform>>;

/** A worker and an API on a vhost and a database of their own, and an operator's calls. */
export async function startDeadLetterPlatform(environment: Record<string, string> = {}) {
  const [amqpUrl, databaseUrl] = [await freshVhost(), await freshDatabase()];
  await migrate(databaseUrl);
  const logger = await createLogger({ name: 'e2e', level: 'silent' });
  const { privateJwks, publicJwks } = await generateKeySet();
  const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
  const token = async (subject: string, role: Role) =>
    (await minter.mint({ subject, role, expiresInSeconds: 3_600 })).token;
  const processEnvironment = {
    LOG_LEVEL: 'silent',
    AMQP_URL: amqpUrl,
    DATABASE_URL: databaseUrl,
    AUTH_JWKS: JSON.stringify(publicJwks),
    AUTOMATIC_REPLAYS_MAX: '0',
    RATE_LIMIT_PER_MINUTE: '100000',
    ...environment,
  };
  const common = { PORT: '0', ...processEnvironment };
  const connection = openBrokerConnection({ url: amqpUrl, name: 'test', logger, onOpen: declareTopology() });
  const publisher = createPublisher(connection, {
    logger,
    messagesInFlightMax: 100,
    bytesInFlightMax: 1e9,
    confirmTimeoutMs: 10_000,
  });
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs: 30_000, applicationName: 'e2e' });
  const startAnotherWorker = async () => {
    const worker = await startWorker({ config: readWorkerConfiguration(common), logger });
    let stopped: Promise<void> | undefined;
    const stop = () => (stopped ??= worker.stop());
    cleanUp(stop);
    return { ...worker, stop };
  };
  const startApi = async (overrides: Record<string, string> = {}) => {
    const api = await startQueryApi({ config: readQueryApiConfiguration({ ...common, ...overrides }), logger });
    cleanUp(() => api.stop());
    compareAnswersOf(api.url);
    return api;
  };
  cleanUp(async () => {
    await publisher.close();
    await connection.close();
    await database.close();
  });
  const worker = await startAnotherWorker();
  const api = await startApi();
  await publisher.whenWritable();
  await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));

  const operator = await token('olga', 'operator');
  const call = async (
    method: string,
    path: string,
    body?: unknown,
    { bearer = operator, url = api.url }: { bearer?: string; url?: string } = {},
  ): Promise<Answer> => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Body };
  };
  const rows = async <Row extends object>(text: string, values: unknown[] = []) =>
    (await database.pool.query<Row>(text, values)).rows;

  const deadLettersOf = (deviceId: string, count: number): Promise<Body[]> =>
    eventually(async () => {
      const { body } = await call('GET', `/dead-letters?deviceId=${deviceId}&limit=1000`);
      expect(body.data).toHaveLength(count);
      return body.data;
    });

  return {
    api,
    startApi,
    worker,
    startWorker: startAnotherWorker,
    environment: common,
    /** Without a port: for services that run as processes of their own. */
    processEnvironment,
    token,
    call,
    rows,
    publish: (content: Buffer, { queue }: { queue?: string } = {}) =>
      publisher.publish({
        exchange: queue === undefined ? exchanges.telemetry : exchanges.default,
        routingKey: queue ?? routingKeys.persist,
        messageId: randomUUID(),
        type: envelopeType,
        headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
        content,
      }),
    /** The dead letters of a device, once there are `count`. */
    deadLettersOf,
    /** The newest of them. */
    firstOf: async (deviceId: string, count: number) => (await deadLettersOf(deviceId, count))[0]!,
    /** The replay, once it is in this state. */
    replayIn: (id: string, state: string) =>
      eventually(async () => {
        const { body } = await call('GET', `/dead-letters/replays/${id}`);
        expect(body.state).toBe(state);
        return body;
      }),
    stored: async (deviceId: string) =>
      rows<{ seq: number; metrics: Record<string, unknown> }>(
        'select seq, metrics from telemetry where device_id = $1 order by seq',
        [deviceId],
      ),
  };
}

/** jsonb has no NUL (Postgres documentation, 8.14): Postgres itself refuses these readings. */
const poison = { text: 'a\0b' };

export function readings(
  deviceId: string,
  count: number,
  metrics: IdentifiedReading['metrics'] = poison,
): IdentifiedReading[] {
  const now = Date.now();
  return Array.from({ length: count }, (_, index) => ({
    deviceId,
    epoch: 'boot',
    seq: index + 1,
    ts: now - count + index,
    receivedAt: now,
    metrics,
  }));
}

export function envelope(items: readonly IdentifiedReading[]): Buffer {
  return encodeEnvelope({
    id: randomUUID(),
    type: envelopeType,
    schemaVersion: envelopeSchemaVersion,
    occurredAt: Date.now(),
    runs: runsOf(items),
  });
}
