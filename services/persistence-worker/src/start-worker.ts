import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createConsumer } from '@fleetwire/broker/consumer';
import { ConnectionClosedError } from '@fleetwire/broker/errors';
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
import { createBatchWriter } from '@fleetwire/store/batch-writer';
import { openDatabase } from '@fleetwire/store/database';
import { insertDeadLetters } from '@fleetwire/store/dead-letters/insert';
import { assertDurable } from '@fleetwire/store/durability';
import { DurabilityError, SchemaNotCurrentError, classifyFailure as classify } from '@fleetwire/store/failure';
import { beginAttempt, endAttempt } from '@fleetwire/store/isolation-attempts';
import { assertSchemaCurrent } from '@fleetwire/store/migrate';
import { recordEdgeReport } from '@fleetwire/store/reconciliation';
import type { WorkerConfiguration } from './configuration.ts';
import { DatabaseGate } from './database-gate.ts';
import { DeadLetterDrain } from './dead-letter-drain.ts';
import { EnvelopeHandler } from './envelope-handler.ts';
import { MessageSizes } from './message-sizes.ts';
import { runMaintenance } from './maintenance.ts';
import { createWorkerMetrics, registerWorkerGauges } from './metrics.ts';
import { PoisonIsolation } from './poison-isolation.ts';
import { ReadingOutcomes } from './reading-outcomes.ts';
import { startReplays } from './replays/start-replays.ts';
import { Storer } from './storer.ts';
import { TransactionBatcher } from './transaction-batcher.ts';

export interface Worker {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** Connections beside those of the transactions: the probe, dead letters, partitions. */
const spareConnections = 3;
const publishMessagesInFlightMax = 64;
const publishBytesInFlightMax = 32 * 1024 * 1024;
const healthBodyBytesMax = 1_024;
/** The part of the drain deadline that running transactions may take; the rest is for handing back messages and closing. */
const drainShare = 0.6;

/** Wires the worker: envelopes from the queue into Postgres. It also starts while the broker or Postgres is unavailable, and waits. */
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
  const startedAtMicros = Math.round((performance.timeOrigin + performance.now()) * 1_000);
  await using started = new AsyncDisposableStack();
  const registry = createRegistry();
  const health = createHealth({ registry });
  const metrics = createWorkerMetrics(registry);
  const stopping = new AbortController();
  const { signal } = stopping;

  const database = started.adopt(
    openDatabase({
      databaseUrl: config.databaseUrl,
      poolMax: config.transactionsMax + spareConnections,
      statementTimeoutMs: config.statementTimeoutMs,
      applicationName: 'persistence-worker',
      pipelined: true,
      onConnectionLost: (error) => logger.warn({ err: error }, 'lost a connection to Postgres'),
    }),
    (one) => one.close(),
  );
  const backoff = { baseMs: config.holdBaseMs, capMs: config.holdCapMs };
  const probe = async () => {
    await assertSchemaCurrent(database);
    await assertDurable(database.pool);
  };
  const gate = new DatabaseGate({ classify, probe, backoff, logger, signal });
  gate.closeUntilProbed();

  const connect = (name: string) =>
    started.adopt(
      openBrokerConnection({
        url: config.amqpUrl,
        name,
        logger,
        heartbeatSeconds: config.amqpHeartbeatSeconds,
        onOpen: declareTopology(topology),
      }),
      (one) => one.close(),
    );
  // Separate connections: a blocked publisher must not hold up acknowledgements.
  const consuming = connect('persistence-worker consumes');
  const publishing = connect('persistence-worker publishes');
  for (const { opened } of [consuming, publishing])
    opened.catch((error: unknown) => {
      if (!(error instanceof ConnectionClosedError))
        logger.error({ err: error }, 'broker rejected the topology or the credentials; still retrying');
    });
  const publisher = started.adopt(
    createPublisher(publishing, {
      logger,
      messagesInFlightMax: publishMessagesInFlightMax,
      bytesInFlightMax: publishBytesInFlightMax,
      confirmTimeoutMs: config.confirmTimeoutMs,
    }),
    (one) => one.close(),
  );
  const publish = createRetryingPublisher(publisher, signal, logger);

  const { shapesMax, shapesPerDeviceMax, latestBytesMax, retentionDays } = config;
  const writer = createBatchWriter(database.pool, {
    shapesMax,
    shapesPerDeviceMax,
    latestBytesMax,
    ...(retentionDays === undefined ? {} : { retentionDays }),
  });
  const outcomes = new ReadingOutcomes({
    writer,
    insertDeadLetters: (letters) => insertDeadLetters(database.pool, letters),
    publish,
    metrics,
    logger,
  });
  const storer = new Storer({ outcomes, classify, gate, metrics, logger, tracer, signal });
  const batcher = new TransactionBatcher({
    bounds: { readingsMax: config.batchReadingsMax, bytesMax: config.batchBytesMax, lingerMs: config.batchLingerMs },
    transactionsMax: config.transactionsMax,
    messagesMax: config.prefetch,
    run: (batch) => storer.storeBatch(batch),
  });
  registerWorkerGauges(registry, { gate, batcher, shapes: writer.shapes, shapesMax });
  const isolation = new PoisonIsolation({
    beginAttempt: (attempt) => gate.retryWhileUnavailable(() => beginAttempt(database.pool, attempt)),
    endAttempt: (attempt) => endAttempt(database.pool, attempt),
    outcomes,
    logger,
  });
  const sizes = new MessageSizes();
  const envelopes = new EnvelopeHandler({
    sizes,
    isolation,
    batcher,
    outcomes,
    recordEdgeReport: (report) => gate.retryWhileUnavailable(() => recordEdgeReport(database.pool, report)),
    tracer,
    signal,
  });
  const deadLetters = new DeadLetterDrain({
    outcomes,
    classify,
    gate,
    publish,
    backoff,
    logger,
    signal,
  });

  // Not awaited: usually the partitions exist before the first envelope arrives; where one is missing, the writer creates it.
  const maintenance = runMaintenance({
    pool: database.pool,
    shapes: writer.shapes,
    verify: () => gate.retryWhileUnavailable(probe),
    config,
    logger,
    signal,
  });
  started.defer(async () => {
    stopping.abort(new Error('the worker is stopping'));
    await maintenance;
  });
  const work = createConsumer(consuming, {
    logger,
    queue: queues.persist,
    prefetch: config.prefetch,
    // The oldest worker gets messages first; the others are warm standbys. Two that share the work contend for row locks, because every
    // envelope has readings of the same devices (docs/decisions/0023-consumer-priority-by-age.md).
    priority: -startedAtMicros,
    handle: (delivery) => envelopes.handle(delivery),
  });
  const dead = createConsumer(consuming, {
    logger,
    queue: queues.dead,
    prefetch: config.deadPrefetch,
    handle: (delivery) => deadLetters.handle(delivery),
  });
  const replays = startReplays({ connection: publishing, config, logger });
  let drained: Promise<unknown> | undefined;
  const drain = async () => {
    health.setDraining();
    const drainMs = config.drainTimeoutMs * drainShare;
    await (drained ??= Promise.all([work.drain(drainMs), dead.drain(drainMs), replays.stop()]));
  };
  // For a start that fails; a stop drains before the listener closes, see below.
  started.defer(drain);

  const state = (): WorkerState => ({
    subscribed: work.subscribed,
    holding: !gate.isOpen,
    writersBusy: batcher.running,
    writersMax: config.transactionsMax,
    oldestArrivalAt: batcher.oldestArrivalAt ?? null,
    messageSize: sizes.estimate() ?? null,
  });
  health.addCheck(
    'broker',
    () => (work.subscribed && dead.subscribed) || `not subscribed; connection is ${consuming.state}`,
  );
  health.addCheck('database', () => gate.isOpen || holdingBecause(gate.lastFailure));
  const app = createHttpApp({
    logger,
    tracer,
    registry,
    health,
    trustProxyHops: config.trustProxyHops,
    bodyBytesMax: healthBodyBytesMax,
    routes: (base) => {
      base.get('/state', (_request, response) => void response.json(state()));
    },
  });
  const listening = started.adopt(await listen(app, { host: config.host, port: config.port }), (one) => one.stop());
  logger.info({ url: listening.url }, 'listening');
  started.defer(drain);

  // 1 readiness turns off; nothing new is consumed; running transactions commit and are acknowledged; the channel closes, which returns
  // the other messages to the queue · 2 the listener closes · 3 waiting work is aborted · 4 the broker connections close · 5 the pool closes
  const running = started.move();
  return { url: listening.url, port: listening.port, stop: () => running.disposeAsync() };
}

/** For `/readyz`: says what an operator has to change, where it is known. */
function holdingBecause(failure: unknown): string {
  if (failure instanceof DurabilityError || failure instanceof SchemaNotCurrentError)
    return `holding: ${failure.message}`;
  return 'holding: Postgres is unavailable';
}
