import { randomUUID } from 'node:crypto';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createConsumer } from '@fleetwire/broker/consumer';
import { ConnectionClosedError } from '@fleetwire/broker/errors';
import { startInstanceBeats } from '@fleetwire/broker/instance-beats';
import { createRetryingPublisher } from '@fleetwire/broker/retrying-publisher';
import { createPublisher } from '@fleetwire/broker/publisher';
import { type Topology, declareTopology, fleetwireTopology, queues } from '@fleetwire/broker/topology';
import type { WorkerState } from '@fleetwire/contracts/worker-state';
import { createHealth } from '@fleetwire/runtime/health';
import { createHttpApp } from '@fleetwire/runtime/http';
import { identityOf } from '@fleetwire/runtime/instance-identity';
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
import type { EdgeReport } from '@fleetwire/contracts/edge-report';
import { recordEdgePositions } from '@fleetwire/store/positions/edges';
import type { SettledEnvelope } from '@fleetwire/store/positions/settled-envelope';
import { recordEdgeReport } from '@fleetwire/store/reconciliation';
import { BrokerAcceptance } from './broker-acceptance.ts';
import { commandEvents, presenceEvents, transientEvents } from './change-events.ts';
import { runCommandDispatcher } from './command-dispatcher.ts';
import { CommandOutcomes } from './command-outcomes.ts';
import type { WorkerConfiguration } from './configuration.ts';
import { DatabaseGate } from './database-gate.ts';
import { DeadLetterDrain } from './dead-letter-drain.ts';
import { runDeviceEventOutbox } from './device-event-outbox.ts';
import { EnvelopeHandler } from './envelope-handler.ts';
import { runErasures } from './erasures.ts';
import { MessageSizes } from './message-sizes.ts';
import { runMaintenance } from './maintenance.ts';
import { createWorkerMetrics, registerWorkerGauges } from './metrics.ts';
import { advancePositionsEachSecond } from './advance-positions.ts';
import { PoisonIsolation } from './poison-isolation.ts';
import { PresenceWorker } from './presence.ts';
import { ReadingOutcomes } from './reading-outcomes.ts';
import { createRollupMetrics } from './rollup-metrics.ts';
import { runRollups } from './rollups.ts';
import { startReplays } from './replays/start-replays.ts';
import { StoredNotices } from './stored-notices.ts';
import { Storer } from './storer.ts';
import { TransactionBatcher } from './transaction-batcher.ts';

export interface Worker {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

const deadLetterWritesMax = 2;
/**
 * Connections beside those of the transactions: dead letters, the probe, partitions, erasures, device events (two), edge reports, presence,
 * isolation, commands (three) and rollups.
 */
const spareConnections = deadLetterWritesMax + 11;
const publishMessagesInFlightMax = 64;
const commandsInFlightMax = 1_000;
const publishBytesInFlightMax = 32 * 1024 * 1024;
const noticesInFlightMax = 1_000;
const noticeBytesInFlightMax = 8 * 1024 * 1024;
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
  const instanceId = randomUUID();

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
  // A channel of its own: dead letters may fill the window of theirs.
  const noticePublisher = started.adopt(
    createPublisher(publishing, {
      logger,
      messagesInFlightMax: noticesInFlightMax,
      bytesInFlightMax: noticeBytesInFlightMax,
      confirmTimeoutMs: config.confirmTimeoutMs,
    }),
    (one) => one.close(),
  );
  const notices = started.adopt(new StoredNotices(noticePublisher), (one) => one.flush());
  const commandPublisher = started.adopt(
    createPublisher(publishing, {
      logger,
      messagesInFlightMax: commandsInFlightMax,
      bytesInFlightMax: publishBytesInFlightMax,
      confirmTimeoutMs: config.confirmTimeoutMs,
      areReturnsExpected: true,
    }),
    (one) => one.close(),
  );

  const { shapesMax, shapesPerDeviceMax, latestBytesMax, retentionDays } = config;
  const { readingAgeDaysMax, streamsPerDeviceDayMax } = config;
  const writer = createBatchWriter(database.pool, {
    shapesMax,
    shapesPerDeviceMax,
    latestBytesMax,
    readingAgeDaysMax,
    streamsPerDeviceDayMax,
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
  registerWorkerGauges(registry, {
    gate,
    batcher,
    shapes: writer.shapes,
    shapesMax,
    partitions: () => writer.partitions,
  });
  started.adopt(
    startInstanceBeats({
      identity: identityOf('persistence-worker', config, instanceId),
      activity: () => ({
        isWorking: gate.isOpen,
        handled: outcomes.stored,
        transactions: { busy: batcher.running, max: config.transactionsMax },
      }),
      tell: transientEvents(noticePublisher),
    }),
    (one) => one.stop(),
  );
  const isolation = new PoisonIsolation({
    beginAttempt: (attempt) =>
      gate.retryWhileUnavailable(({ wasUnavailable }) => beginAttempt(database.pool, { ...attempt, wasUnavailable })),
    endAttempt: (attempt) => endAttempt(database.pool, attempt),
    outcomes,
    logger,
  });
  const settle = (envelope: SettledEnvelope) => gate.retryWhileUnavailable(() => outcomes.settle(envelope));
  const sizes = new MessageSizes();
  const enterEdgeReport = (report: EdgeReport) =>
    gate.retryWhileUnavailable(async () => {
      await recordEdgePositions(database.pool, report, config.unconfirmedWaitMs);
      await recordEdgeReport(database.pool, report);
    });
  const envelopes = new EnvelopeHandler({
    sizes,
    notices,
    isolation,
    batcher,
    outcomes,
    recordEdgeReport: enterEdgeReport,
    settle,
    tracer,
    signal,
  });
  const deadLetters = new DeadLetterDrain({
    outcomes,
    notices,
    recordEdgeReport: enterEdgeReport,
    settle,
    classify,
    gate,
    publish,
    backoff,
    logger,
    signal,
    writesMax: deadLetterWritesMax,
  });

  let isConsuming = () => false;
  // Not awaited: usually the partitions exist before the first envelope arrives; where one is missing, the writer creates it.
  const maintenance = runMaintenance({
    pool: database.pool,
    shapes: writer.shapes,
    verify: () => gate.retryWhileUnavailable(probe),
    config,
    logger,
    signal,
  });
  const rollups = runRollups({ pool: database.pool, config, metrics: createRollupMetrics(registry), logger, signal });
  const erasures = runErasures({ pool: database.pool, logger, signal });
  const outbox = runDeviceEventOutbox({ database, publisher, logger, signal });
  const toldCommands = commandEvents({ publisher, signal, metrics });
  const commands = runCommandDispatcher({
    pool: database.pool,
    publisher: commandPublisher,
    events: toldCommands,
    metrics,
    logger,
    signal,
  });
  const commandOutcomes = new CommandOutcomes({
    connection: consuming,
    pool: database.pool,
    gate,
    classify,
    events: toldCommands,
    metrics,
    logger,
    signal,
  });
  const presence = new PresenceWorker({
    connection: consuming,
    pool: database.pool,
    gate,
    worker: instanceId,
    acceptance: new BrokerAcceptance(publisher),
    events: presenceEvents({ publisher, signal, metrics }),
    metrics,
    logger,
    signal,
  });
  const advancing = advancePositionsEachSecond({
    pool: database.pool,
    isConsuming: () => isConsuming(),
    logger,
    signal,
  });
  started.defer(async () => {
    stopping.abort(new Error('the worker is stopping'));
    await Promise.all([maintenance, rollups, erasures, outbox, advancing, commands, presence.whenStopped()]);
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
  isConsuming = () => work.subscribed && gate.isOpen;
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
    await (drained ??= Promise.all([
      work.drain(drainMs),
      dead.drain(drainMs),
      presence.drain(drainMs),
      commandOutcomes.drain(drainMs),
      replays.stop(),
    ]));
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
    () =>
      [work, dead, presence, commandOutcomes].every(({ subscribed }) => subscribed) ||
      `not subscribed; connection is ${consuming.state}`,
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
