import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '@fleetwire/contracts/limits';
import { createHealth } from '@fleetwire/runtime/health';
import { createHttpApp } from '@fleetwire/runtime/http';
import { openKeySource, signingKeys, type KeySource } from '@fleetwire/auth/key-set';
import { listen } from '@fleetwire/runtime/listen';
import type { Logger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { createRefusedTokens } from '@fleetwire/runtime/refused-tokens';
import { type Tracer, untraced } from '@fleetwire/runtime/trace-context';
import { createTokenMinter, type TokenMinter } from '@fleetwire/auth/tokens';
import { newestEdgeReport } from '@fleetwire/store/reconciliation';
import { listDevices, type LatestRow, type StoreStatus } from '@fleetwire/store/readers';
import { createAnswerBudget } from './answer-budget.ts';
import { apiPages, pagePolicy } from './api-pages.ts';
import { createAuthentication } from './caller.ts';
import {
  circuitGauge,
  createCircuit,
  guardDatabase,
  isDatabaseOutage,
  type Circuit,
  type CircuitOptions,
} from './circuit.ts';
import type { QueryApiConfiguration } from './configuration.ts';
import { createCursorSignature } from './cursor-signature.ts';
import { startDatabaseProbe } from './database-probe.ts';
import { exposeOperations } from './operations-metrics.ts';
import { amqpSource } from './queues/amqp-source.ts';
import { managementSource, vhostOf } from './queues/management-source.ts';
import { createQueueMonitor } from './queues/queue-monitor.ts';
import { createWorkerView } from './queues/worker-view.ts';
import { createLastGood } from './last-good.ts';
import { limitCalls, limitCallsInFlight, refusedCallsCounter } from './rate-limits.ts';
import { openReadPool, openWritePool } from './pools.ts';
import { createRouter } from './router.ts';
import { routes } from './routes.ts';

export interface QueryApi {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** An edited reading may be as large as the frame it came in. */
const bodyBytesMax = limits.payloadBytesMax;
const circuitWindowMs = 10_000;
const brokerTimeoutMs = 1_500;
const staleAnswersMax = 16;

/** Starts the service, also while Postgres or RabbitMQ is unavailable. */
export async function startQueryApi({
  config,
  logger,
  tracer = untraced,
}: {
  readonly config: QueryApiConfiguration;
  readonly logger: Logger;
  readonly tracer?: Tracer;
}): Promise<QueryApi> {
  await using started = new AsyncDisposableStack();
  const registry = createRegistry();
  const health = createHealth({ registry });

  const light = started.adopt(openReadPool(config, { poolMax: config.poolMax, purpose: 'light', logger }), (database) =>
    database.close(),
  );
  const history = started.adopt(
    openReadPool(config, { poolMax: config.historyPoolMax, purpose: 'history', logger }),
    (database) => database.close(),
  );
  const scanning = started.adopt(
    openReadPool(config, { poolMax: config.scanPoolMax, purpose: 'scans', logger }),
    (database) => database.close(),
  );
  const writing = started.adopt(
    openWritePool(config, { poolMax: config.writePoolMax, purpose: 'writes', logger }),
    (database) => database.close(),
  );

  const refusedCalls = refusedCallsCounter(registry);
  const gauge = circuitGauge(registry);
  const circuit = (name: string, of: Partial<CircuitOptions> = {}): Circuit =>
    started.adopt(
      createCircuit({
        name,
        timeoutMs: config.breakerTimeoutMs,
        resetMs: config.breakerResetMs,
        volumeThreshold: config.breakerVolumeMin,
        windowMs: circuitWindowMs,
        inFlightMax: config.callsInFlightMax,
        isOutage: isDatabaseOutage,
        logger,
        gauge,
        ...of,
      }),
      (one) => one.stop(),
    );
  const circuits = {
    latest: circuit('latest'),
    registry: circuit('registry'),
    history: circuit('history'),
    scans: circuit('scans'),
    deadLetters: circuit('dead-letters'),
  };
  const managementCircuit = circuit('management', {
    dependency: "the broker's management API",
    timeoutMs: brokerTimeoutMs,
    isOutage: () => true,
  });
  const databases = {
    latest: guardDatabase(light, circuits.latest),
    registry: guardDatabase(light, circuits.registry),
    // Separate pools: long queries must delay neither the latest state nor pages of readings.
    history: guardDatabase(history, circuits.history),
    scans: guardDatabase(scanning, circuits.scans),
  };

  const probe = started.adopt(
    await startDatabaseProbe({
      // Unlike "select 1", this also proves that the schema exists.
      ping: (signal) => listDevices(light, { limit: 1, signal }),
      intervalMs: config.probeIntervalMs,
      timeoutMs: config.breakerTimeoutMs,
      onChange: ({ state, error }) => logger.info({ state, error }, 'database state changed'),
    }),
    (one) => one.stop(),
  );
  health.addCheck('database', () => {
    const { state } = probe.state();
    return state === 'up' || state;
  });

  const keys = await openKeySource(config);
  const queues = createQueueMonitor({
    management:
      config.managementUrl === undefined
        ? undefined
        : managementSource({ managementUrl: config.managementUrl, vhost: vhostOf(config.amqpUrl) }),
    amqp:
      config.amqpUrl === undefined
        ? undefined
        : started.adopt(amqpSource({ amqpUrl: config.amqpUrl, logger }), (one) => one.stop()),
    circuit: managementCircuit,
    workers: createWorkerView(config.workerUrls ?? []),
    database: () => probe.state(),
    newestEdgeReport: () => databases.registry.run(newestEdgeReport, {}),
  });
  exposeOperations({ registry, queues, scans: databases.scans });
  const api = {
    queues,
    ...databases,
    deadLetters: {
      light: guardDatabase(light, circuits.deadLetters),
      scans: guardDatabase(scanning, circuits.deadLetters),
      writing: guardDatabase(writing, circuits.deadLetters),
    },
    acknowledging: guardDatabase(writing, circuits.history),
    lastLatest: createLastGood<LatestRow[]>({
      entriesMax: staleAnswersMax,
      bytesMax: config.staleAnswerBytesMax,
      bytesOf: (rows) => rows.reduce((sum, { bytes }) => sum + bytes, 0),
    }),
    lastStored: createLastGood<StoreStatus>({ entriesMax: 1, bytesMax: 1, bytesOf: () => 1 }),
    probe,
    circuits: [...Object.values(circuits), managementCircuit],
    minter: await openMinter(config, keys),
    now: Date.now,
  };
  const app = createHttpApp({
    logger,
    tracer,
    registry,
    health,
    trustProxyHops: config.trustProxyHops,
    bodyBytesMax,
    origins: config,
    helmet: pagePolicy,
    routes: (base) => {
      base.use(
        '/api/v1',
        createRouter({
          routes,
          api,
          authenticate: createAuthentication(config, keys, createRefusedTokens({ ...config, registry })),
          limitCalls: [limitCalls(config.rateLimitPerMinute), limitCallsInFlight(config, refusedCalls)],
          cursorSignature: createCursorSignature(config.databaseUrl),
          bodyBytesMax,
          answers: createAnswerBudget({ bytesMax: config.answerBytesInFlightMax, refusedCalls, registry }),
          pageBytesMax: config.pageBytesMax,
        }),
      );
      base.use(apiPages());
    },
  });
  const http = started.adopt(await listen(app, { host: config.host, port: config.port }), (one) => one.stop());
  logger.info({ url: http.url, authMode: config.authMode }, 'listening');

  const resources = started.move();
  return {
    url: http.url,
    port: http.port,
    // 1. readiness off, 2. load balancers notice, 3. no new requests and those in flight finish, 4. probe and circuits end,
    // 5. pools close
    stop: async () => {
      health.setDraining();
      await sleep(config.drainGraceMs);
      await resources.disposeAsync();
    },
  };
}

async function openMinter(
  config: QueryApiConfiguration,
  keys: KeySource | undefined,
): Promise<TokenMinter | undefined> {
  if (!keys || signingKeys(await keys.current()).length === 0) return undefined;
  return createTokenMinter({ privateJwks: keys, issuer: config.authIssuer, audience: config.authAudience });
}
