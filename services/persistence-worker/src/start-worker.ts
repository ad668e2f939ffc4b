import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createConsumer } from '@fleetwire/broker/consumer';
import { createRetryingPublisher } from '@fleetwire/broker/retrying-publisher';
import { createPublisher } from '@fleetwire/broker/publisher';
import { type Topology, declareTopology, fleetwireTopology, queues } from '@fleetwire/broker/topology';
import type { WorkerState } from '@fleetwire/contracts/worker-state';
import { createHealth } from '@fleetwire/runtime/health';
import { createHttpApp } from '@fleetwire/runtime/http';
import { listen } from '@fleetwire/runtime/listen';
import type { Logger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { type Tracer, untraced } from '@fleetwire/runtime/trace-context';
import { recordEdgeReport } from '@fleetwire/store/reconciliation';
import { createBatchWriter } from '@fleetwire/store/batch-writer';
import { openDatabase } from '@fleetwire/store/database';
import { insertDeadLetters } from '@fleetwire/store/dead-letters';
import { OlderThanRetentionError, classifyFailure } from '@fleetwire/store/failure';
import { assertSchemaCurrent } from '@fleetwire/store/migrate';
import { beginAttempt, endAttempt } from '@fleetwire/store/isolation-attempts';
import { DatabaseGate } from './database-gate.ts';
import type { WorkerConfiguration } from './configuration.ts';
import { DeadLetterDrain } from './dead-letter-drain.ts';
import { EnvelopeHandler } from './envelope-handler.ts';
import { createWorkerMetrics } from './metrics.ts';
import { startReplays } from './replays/start-replays.ts';
import { createRetryWhileUnavailable } from './retry-while-unavailable.ts';
import { Storer } from './storer.ts';
import { startUpkeep } from './upkeep.ts';

export interface Worker {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** Connections beside the writers': the probe, dead letters, partitions. */
const spareConnections = 3;
const publishMessagesInFlightMax = 64;
const publishBytesInFlightMax = 32 * 1024 * 1024;
const healthBodyBytesMax = 1_024;
/** Of the drain deadline, what running transactions may take; the rest is for handing back and closing. */
const drainShare = 0.6;

/** Wires the worker: envelopes from the queue into Postgres. It starts, and holds, also while either is away. */
export async function startWorker({
  config,
  logger,
  tracer = untraced,
  topology = fleetwireTopology(),
}: {
  config: WorkerConfiguration;
  logger: Logger;
  tracer?: Tracer;
  topology?: Topology;
}): Promise<Worker> {
  // As its priority: the eldest works while it has room. Two at once wait for each other's rows, which are those of the same devices.
  const bornAtMicros = Math.round((performance.timeOrigin + performance.now()) * 1_000);
  const registry = createRegistry();
  const health = createHealth({ registry });
  const stopping = new AbortController();
  const { signal } = stopping;

  const database = openDatabase({
    databaseUrl: config.databaseUrl,
    poolMax: config.transactionsMax + spareConnections,
    statementTimeoutMs: config.statementTimeoutMs,
    applicationName: 'persistence-worker',
    pipelined: true,
    onConnectionLost: (error) => logger.warn({ err: error }, 'lost a connection to Postgres'),
  });
  const gate = new DatabaseGate({
    probe: () => assertSchemaCurrent(database),
    baseMs: config.holdBaseMs,
    capMs: config.holdCapMs,
    logger,
  });
  const retryWhileUnavailable = createRetryWhileUnavailable({ classify: classifyFailure, gate, signal });
  const metrics = createWorkerMetrics(registry, {
    isHolding: () => !gate.isOpen,
    oldestArrivalAt: () => handler.oldestArrivalAt,
  });

  // Separate connections: a blocked publisher must not hold up acknowledgements.
  const connect = (name: string) =>
    openBrokerConnection({
      url: config.amqpUrl,
      name,
      logger,
      heartbeatSeconds: config.amqpHeartbeatSeconds,
      onOpen: declareTopology(topology),
    });
  const consuming = connect('persistence-worker consumes');
  const publishing = connect('persistence-worker publishes');
  for (const { opened } of [consuming, publishing])
    opened.catch((error: unknown) => logger.error({ err: error }, 'the broker cannot be used as it is'));
  const publisher = createPublisher(publishing, {
    logger,
    messagesInFlightMax: publishMessagesInFlightMax,
    bytesInFlightMax: publishBytesInFlightMax,
    confirmTimeoutMs: config.confirmTimeoutMs,
  });

  const writer = createBatchWriter(
    database.pool,
    config.retentionDays === undefined ? {} : { retentionDays: config.retentionDays },
  );
  const publish = createRetryingPublisher(publisher, signal, logger);
  const handler = new EnvelopeHandler({
    storer: new Storer({
      write: (readings, origin) => writer.write(readings, origin),
      classify: classifyFailure,
      retryWhileUnavailable,
      signal,
    }),
    enterReport: (report) => retryWhileUnavailable(() => recordEdgeReport(database.pool, report)),
    trials: {
      begin: (trial) => retryWhileUnavailable(() => beginAttempt(database.pool, trial)),
      end: (trial) => endAttempt(database.pool, trial),
    },
    publish,
    bounds: { readingsMax: config.batchReadingsMax, bytesMax: config.batchBytesMax, lingerMs: config.batchLingerMs },
    transactionsMax: config.transactionsMax,
    messagesMax: config.prefetch,
    metrics,
    logger,
    tracer,
    reasonOf: (error) => (error instanceof OlderThanRetentionError ? 'older-than-retention' : 'refused-by-database'),
    signal,
  });
  // Before the first envelope: its partition should be there already.
  const upkeep = startUpkeep({ pool: database.pool, config, logger, signal });
  const work = createConsumer(consuming, {
    logger,
    queue: queues.persist,
    prefetch: config.prefetch,
    priority: -bornAtMicros,
    handle: (delivery) => handler.handle(delivery),
  });
  const drain = new DeadLetterDrain({
    insert: (letters) => insertDeadLetters(database.pool, letters),
    classify: classifyFailure,
    retryWhileUnavailable,
    publish,
    backoff: { baseMs: config.holdBaseMs, capMs: config.holdCapMs },
    logger,
    signal,
  });
  const dead = createConsumer(consuming, {
    logger,
    queue: queues.dead,
    prefetch: config.deadPrefetch,
    handle: (delivery) => drain.handle(delivery),
  });

  const replays = startReplays({ connection: publishing, config, logger });

  const state = (): WorkerState => ({
    subscribed: work.subscribed,
    holding: !gate.isOpen,
    writersBusy: handler.writersBusy,
    writersMax: config.transactionsMax,
    oldestArrivalAt: handler.oldestArrivalAt ?? null,
  });
  health.addCheck(
    'broker',
    () => (work.subscribed && dead.subscribed) || `not subscribed; connection is ${consuming.state}`,
  );
  health.addCheck('database', () => gate.isOpen || 'holding: Postgres cannot write now');
  const app = createHttpApp({
    logger,
    tracer,
    registry,
    health,
    trustProxyHops: config.trustProxyHops,
    bodyBytesMax: healthBodyBytesMax,
    parseBody: false,
    routes: (base) => {
      base.get('/state', (_request, response) => void response.json(state()));
    },
  });
  const listening = await listen(app, { host: config.host, port: config.port });
  logger.info({ url: listening.url }, 'listening');

  return {
    url: listening.url,
    port: listening.port,
    // 1 readiness off · 2 nothing new is taken, running transactions commit and are acknowledged · 3 what still holds is handed back ·
    // 4 the broker connections close · 5 the pool closes
    stop: async () => {
      health.setDraining();
      const drainMs = config.drainTimeoutMs * drainShare;
      await Promise.all([work.drain(drainMs), dead.drain(drainMs), replays.stop()]);
      stopping.abort(new Error('the worker is stopping'));
      await upkeep;
      await publisher.close();
      await Promise.all([consuming.close(), publishing.close()]);
      await listening.stop();
      await database.close();
    },
  };
}
