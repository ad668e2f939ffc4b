import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startInstanceBeats } from '@fleetwire/broker/instance-beats';
import type { Role } from '@fleetwire/contracts/access';
import { type InstanceBeat, instanceBeatType } from '@fleetwire/contracts/instance-beat';
import { limits } from '@fleetwire/contracts/limits';
import { type PlainControl, plainControlKey } from '@fleetwire/contracts/plain-dialect';
import { createHealth } from '@fleetwire/runtime/health';
import { createHttpApp, plainMount } from '@fleetwire/runtime/http';
import { identityOf } from '@fleetwire/runtime/instance-identity';
import { createAuthenticate } from '@fleetwire/auth/authenticate';
import { openKeySource, signingKeys, type KeySource } from '@fleetwire/auth/key-set';
import { listen } from '@fleetwire/runtime/listen';
import type { Logger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { createRefusedTokens } from '@fleetwire/runtime/refused-tokens';
import { type Tracer, untraced } from '@fleetwire/runtime/trace-context';
import { createTokenMinter, type TokenMinter } from '@fleetwire/auth/tokens';
import { newestEdgeReport } from '@fleetwire/store/reconciliation';
import type { LatestRow, StoreStatus, newestLatest } from '@fleetwire/store/readers';
import { listDevices } from '@fleetwire/store/registry/devices';
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
import { openCommandEvents } from './commands/command-events.ts';
import { reportChanges } from './changes/changes-metrics.ts';
import { exposeCommands } from './commands/command-metrics.ts';
import { openCommandWaits } from './commands/command-waits.ts';
import type { QueryApiConfiguration } from './configuration.ts';
import { dashboardPages } from './dashboard.ts';
import { guidePages } from './guide.ts';
import { createCursorSignature } from './cursor-signature.ts';
import { startDatabaseProbe } from './database-probe.ts';
import { exportedBytesCounter } from './exports/export-stream.ts';
import { StreamSlots } from './exports/stream-slots.ts';
import { startExportJobs } from './export-jobs/start.ts';
import { createIngestClient } from './devices/ingest-client.ts';
import { exposeRegistry } from './devices/registry-metrics.ts';
import { exposeOperations } from './operations-metrics.ts';
import { amqpSource } from './queues/amqp-source.ts';
import { managementSource, vhostOf } from './queues/management-source.ts';
import { PresentAlarms } from './queues/present-alarms.ts';
import { startQueueHistory } from './queues/queue-history.ts';
import { createQueueMonitor } from './queues/queue-monitor.ts';
import { createWorkerView } from './queues/worker-view.ts';
import { Instances } from './instances.ts';
import { createLastGood } from './last-good.ts';
import { limitCalls, limitCallsInFlight, refusedCounter } from './rate-limits.ts';
import { startLive } from '@fleetwire/live/start-live';
import { liveStreams } from './live-stream.ts';
import { openReadPool, openWritePool } from './pools.ts';
import { plainRoutes } from './plain-routes.ts';
import { createQuestionAnswers } from './question-answers.ts';
import { createQuestionCosts } from './question-costs.ts';
import { openReadReplica } from './read-replica.ts';
import { createRouter } from './router.ts';
import { routes } from './routes.ts';
import { sessionRoutes } from './sessions/session-routes.ts';
import { Sessions } from './sessions/sessions.ts';

export interface QueryApi {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** An edited reading may be as large as the frame it came in. */
const bodyBytesMax = limits.payloadBytesMax;
const circuitWindowMs = 10_000;
/** The first rows of a stream are there when all have been sorted. */
const liveStatementTimeoutMs = 60_000;
const brokerTimeoutMs = 1_500;
/** Longer than ingest-ws takes to answer in any case (its ANSWER_TIMEOUT_MS). */
const ingestTimeoutMs = 20_000;
const staleAnswersMax = 16;
const builtDashboard = fileURLToPath(new URL('../../../apps/dashboard/dist', import.meta.url));
const builtGuide = fileURLToPath(new URL('../../../.fleetwire/guide', import.meta.url));

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
    openReadPool(config, { poolMax: config.historyPoolMax, purpose: 'history', pipelined: true, logger }),
    (database) => database.close(),
  );
  const scanning = started.adopt(
    openReadPool(config, { poolMax: config.scanPoolMax, purpose: 'scans', pipelined: true, logger }),
    (database) => database.close(),
  );
  const live = started.adopt(
    openReadPool(
      { ...config, statementTimeoutMs: liveStatementTimeoutMs },
      { poolMax: config.livePoolMax, purpose: 'live', logger },
    ),
    (database) => database.close(),
  );
  const exporting = started.adopt(
    openReadPool(
      { ...config, statementTimeoutMs: config.exportMsMax },
      {
        poolMax: config.exportStreamsMax,
        purpose: 'exports',
        connectTimeoutMs: config.statementTimeoutMs,
        logger,
      },
    ),
    (database) => database.close(),
  );
  const writing = started.adopt(
    openWritePool(config, { poolMax: config.writePoolMax, purpose: 'writes', logger }),
    (database) => database.close(),
  );

  const refused = refusedCounter(registry);
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
    live: circuit('live'),
    // Later than the limit of the export, which is its own fault and no outage.
    exports: circuit('exports', { timeoutMs: config.exportMsMax + config.breakerTimeoutMs }),
    deadLetters: circuit('dead-letters'),
    sessions: circuit('sessions'),
    queueHistory: circuit('queue-history'),
  };
  const managementCircuit = circuit('management', {
    dependency: "the broker's management API",
    timeoutMs: brokerTimeoutMs,
    isOutage: () => true,
  });
  const ingestCircuit = circuit('ingest', {
    dependency: 'ingest-ws',
    timeoutMs: ingestTimeoutMs,
    isOutage: () => true,
  });
  const databases = {
    latest: guardDatabase(light, circuits.latest),
    registry: guardDatabase(light, circuits.registry),
    // Separate pools: long queries must delay neither the latest state nor pages of readings.
    history: guardDatabase(history, circuits.history),
    scans: guardDatabase(scanning, circuits.scans),
    live: guardDatabase(live, circuits.live),
    exports: guardDatabase(exporting, circuits.exports),
  };

  const { databaseReadUrl } = config;
  const openReplica = (databaseUrl: string) => {
    const pool = (purpose: string, poolMax: number) =>
      started.adopt(
        openReadPool({ ...config, databaseUrl }, { poolMax, purpose: `replica ${purpose}`, pipelined: true, logger }),
        (one) => one.close(),
      );
    const [pages, scanned] = [pool('history', config.historyPoolMax), pool('scans', config.scanPoolMax)];
    const replica = openReadReplica({
      primary: light,
      replica: pages,
      databases: {
        history: guardDatabase(pages, circuit('replica-history')),
        scans: guardDatabase(scanned, circuit('replica-scans')),
      },
      lagMsMax: config.readReplicaLagMsMax,
      registry,
      logger,
    });
    return started.adopt(replica, (one) => one.stop());
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
  const privateKeys = await withPrivateKey(keys);
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
  exposeOperations({
    registry,
    queues,
    scans: databases.scans,
    live: databases.live,
    openingMsMax: config.statementTimeoutMs,
  });
  exposeRegistry(registry, databases.scans);
  const { amqpUrl } = config;
  // Streams read their history from this service, as ingest-ws does.
  const { promise: ownUrl, resolve: setOwnUrl } = Promise.withResolvers<string>();
  const watching =
    amqpUrl === undefined
      ? undefined
      : started.adopt(
          startLive({
            config: { ...config, amqpUrl },
            service: 'query-api',
            queryApiUrl: ownUrl,
            logger,
            registry,
          }),
          (one) => one.close(),
        );
  let calls = 0;
  const own = {
    identity: identityOf('query-api', config, randomUUID()),
    activity: () => ({ isWorking: true, handled: calls }),
  };
  const instances = new Instances({ broker: watching?.broker, ...own, now: Date.now });
  if (watching !== undefined) {
    const tell = (beat: InstanceBeat) => watching.broker.publishTransient(instanceBeatType, beat);
    started.adopt(startInstanceBeats({ ...own, tell }), (one) => one.stop());
  }
  const waits =
    amqpUrl === undefined ? undefined : started.adopt(openCommandWaits({ amqpUrl, logger }), (one) => one.close());
  const api = {
    queues,
    ...databases,
    openingMsMax: config.statementTimeoutMs,
    seriesLimits: (role: Role) => ({
      queryCostMax: role === 'device' ? config.deviceQueryCostMax : config.queryCostMax,
      answerNumbersMax: role === 'device' ? config.deviceAnswerNumbersMax : config.answerNumbersMax,
      seriesMax: config.seriesMax,
      bucketsMax: config.bucketsMax,
    }),
    exportStreams: {
      slots: new StreamSlots(config, refused, registry),
      msMax: config.exportMsMax,
      stalledMsMax: config.exportStalledMsMax,
      bytes: exportedBytesCounter(registry),
    },
    deadLetters: {
      light: guardDatabase(light, circuits.deadLetters),
      scans: guardDatabase(scanning, circuits.deadLetters),
      writing: guardDatabase(writing, circuits.deadLetters),
    },
    acknowledging: guardDatabase(writing, circuits.history),
    registryChanges: guardDatabase(writing, circuits.registry),
    lastLatest: createLastGood<LatestRow[]>({
      entriesMax: staleAnswersMax,
      bytesMax: config.staleAnswerBytesMax,
      bytesOf: (rows) => rows.reduce((sum, { bytes }) => sum + bytes, 0),
    }),
    lastNewest: createLastGood<Awaited<ReturnType<typeof newestLatest>>>({
      // It looks at all devices.
      isShared: true,
      entriesMax: 1,
      bytesMax: config.staleAnswerBytesMax,
      bytesOf: ({ rows }) => rows.reduce((sum, { bytes }) => sum + bytes, 0),
    }),
    instances,
    tellControl: (control: PlainControl) => void watching?.broker.publishTransient(plainControlKey, control),
    lastStored: createLastGood<StoreStatus>({ entriesMax: 1, bytesMax: 1, bytesOf: () => 1 }),
    presentAlarms: new PresentAlarms(),
    probe,
    circuits: [...Object.values(circuits), managementCircuit, ingestCircuit],
    exportJobs: started.adopt(
      await startExportJobs(config, { writing, circuit: circuit('export-jobs'), refused, registry, logger }),
      (jobs) => jobs?.stop(),
    ),
    changes: reportChanges(registry, logger),
    commands: {
      waits,
      tell: openCommandEvents(watching?.broker, registry),
      pendingPerDeviceMax: config.commandsPendingPerDeviceMax,
      timeoutMsMax: config.commandTimeoutMsMax,
      targetsMax: config.commandTargetsMax,
      entered: exposeCommands(registry, databases.scans),
    },
    minter: minterOf(config, privateKeys),
    signingKeys: privateKeys,
    ingest: config.ingestUrl === undefined ? undefined : createIngestClient(config.ingestUrl, ingestCircuit),
    now: Date.now,
  };
  const sessions = new Sessions({
    ...config,
    reading: guardDatabase(light, circuits.sessions),
    writing: guardDatabase(writing, circuits.sessions),
    keys,
    registry,
    logger,
  });
  const refusedTokens = createRefusedTokens({ ...config, registry });
  if (queues.isConfigured)
    started.adopt(
      startQueueHistory({
        queues,
        instances,
        circuits: api.circuits,
        presentAlarms: api.presentAlarms,
        writing: guardDatabase(writing, circuits.queueHistory),
        now: Date.now,
      }),
      (one) => one.stop(),
    );
  const authenticate = createAuthentication(config, keys, refusedTokens, sessions.read);
  const limitRate = limitCalls(config.rateLimitPerMinute, refused);
  const streams = liveStreams({
    hub: watching?.hub,
    authenticate,
    limitCalls: limitRate,
    streamsPerCallerMax: config.sseStreamsPerCallerMax,
    keys,
    readSession: sessions.read,
    bodyBytesMax,
  });
  const signingIn = sessionRoutes({
    sessions,
    authMode: config.authMode,
    authenticate,
    authenticateToken: createAuthenticate(config, keys),
    refusedTokens,
    limitCalls: limitRate,
  });
  const routing = {
    api,
    authenticate,
    limitCalls: [limitRate, limitCallsInFlight(config, refused)],
    cursorSignature: createCursorSignature(config.databaseUrl),
    bodyBytesMax,
    answers: createAnswerBudget({ bytesMax: config.answerBytesInFlightMax, refused, registry }),
    questions: createQuestionAnswers({ bytesMax: config.staleAnswerBytesMax }),
    costs: createQuestionCosts({ limits: config, refused, registry, now: Date.now }),
    refused,
    replica: databaseReadUrl === undefined ? undefined : openReplica(databaseReadUrl),
    pageBytesMax: config.pageBytesMax,
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
      base.use('/api', (_request, _response, next) => {
        calls += 1;
        next();
      });
      base.use('/api/v1', signingIn);
      base.use('/api/v1', streams.router);
      base.use('/api/v1', createRouter({ ...routing, routes }));
      base.use(plainMount, createRouter({ ...routing, routes: plainRoutes }));
      base.use(apiPages());
      base.use(guidePages(config.guideDir ?? builtGuide));
      base.use(dashboardPages({ directory: config.dashboardDir ?? builtDashboard, logger }));
    },
  });
  const http = started.adopt(await listen(app, { host: config.host, port: config.port }), (one) => one.stop());
  started.defer(() => streams.closeAll());
  setOwnUrl(http.url);
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

async function withPrivateKey(keys: KeySource | undefined): Promise<KeySource | undefined> {
  return keys && signingKeys(await keys.current()).length > 0 ? keys : undefined;
}

function minterOf(config: QueryApiConfiguration, privateJwks: KeySource | undefined): TokenMinter | undefined {
  return privateJwks && createTokenMinter({ privateJwks, issuer: config.authIssuer, audience: config.authAudience });
}
