import { setTimeout as sleep } from 'node:timers/promises';
import { openKeySource, thumbprintsOf } from '@fleetwire/auth/key-set';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { ConnectionClosedError } from '@fleetwire/broker/errors';
import { startInstanceBeats } from '@fleetwire/broker/instance-beats';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, fleetwireTopology, type Topology } from '@fleetwire/broker/topology';
import { instanceBeatType } from '@fleetwire/contracts/instance-beat';
import { startLive } from '@fleetwire/live/start-live';
import { createHealth } from '@fleetwire/runtime/health';
import { createHttpApp } from '@fleetwire/runtime/http';
import { identityOf } from '@fleetwire/runtime/instance-identity';
import { listen } from '@fleetwire/runtime/listen';
import type { Logger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { createRefusedTokens } from '@fleetwire/runtime/refused-tokens';
import { type Tracer, untraced } from '@fleetwire/runtime/trace-context';
import { Admission } from './admission.ts';
import { createAuthentication, createTokenCheck } from './authentication.ts';
import { AwaitingStored } from './awaiting-stored.ts';
import { AutoSequence } from './auto-sequence.ts';
import type { IngestConfiguration } from './configuration.ts';
import { ConnectionLimits } from './connection-limits.ts';
import { createControlClient } from './control-client.ts';
import { DeviceHolders } from './device-holders.ts';
import { DeviceRegistry } from './device-registry.ts';
import { serveDeviceSockets } from './device-socket.ts';
import { startEdgeReporter } from './edge-reporter.ts';
import { EnvelopeNumbers } from './envelope-numbers.ts';
import { Intake } from './intake.ts';
import { createIngestMetrics } from './metrics.ts';
import { AckSchedule } from './outbound.ts';
import { PlainControls } from './plain-controls.ts';
import { PlainSnapshots } from './plain-snapshots.ts';
import { PresenceReporter } from './presence-reporter.ts';
import { ReadingOutcomes } from './reading-outcomes.ts';
import { ReconciliationCounts } from './reconciliation-counts.ts';
import { createSessionReader } from './session-reader.ts';
import { Sessions } from './sessions.ts';
import { startCommands } from './start-commands.ts';
import { StreamHistory } from './stream-history.ts';
import { startStoredNotices } from './stored-notices.ts';
import { SubjectShares } from './subject-shares.ts';
import { telemetryRoute } from './telemetry-route.ts';

export interface Ingest {
  readonly url: string;
  readonly webSocketUrl: string;
  readonly port: number;
  stop(): Promise<void>;
}

const rememberedStreamsMax = 100_000;
const autoSequenceDevicesMax = 100_000;
const gatewayDevicesMax = 100_000;
const closeSocketsTimeoutMs = 3_000;
const reportMinutesMax = 60;
const presenceBytesInFlightMax = 4 * 1024 * 1024;
/** Part of the drain deadline that the last report may take when the broker does not answer. */
const lastReportShare = 0.2;

/**
 * Wires the edge: WebSocket and HTTP in, confirmed envelopes out. It listens before the broker is connected; `/readyz` is 503 until then.
 * A start that fails releases what it has acquired.
 */
export async function startIngest({
  config,
  logger,
  tracer = untraced,
  topology = fleetwireTopology(),
}: {
  config: IngestConfiguration;
  logger: Logger;
  tracer?: Tracer;
  topology?: Topology;
}): Promise<Ingest> {
  await using started = new AsyncDisposableStack();
  const registry = createRegistry();
  const metrics = createIngestMetrics(registry);
  const health = createHealth({ registry });
  const keys = await openKeySource(config);
  const deviceRegistry =
    config.queryApiUrl === undefined || config.registryToken === undefined || keys === undefined
      ? undefined
      : new DeviceRegistry({
          isClosed: config.registration === 'closed',
          url: config.queryApiUrl,
          token: config.registryToken,
          keys,
          pollMs: config.registryPollMs,
          snapshotIntervalMs: config.registrySnapshotIntervalMs,
          snapshotAgeMaxMs: config.registrySnapshotAgeMaxMs,
          devicesMax: config.registryDevicesMax,
          logger,
          metrics: registry,
          onChange: () => sessions.closeRefused((deviceId) => deviceRegistry?.refusalOf(deviceId)),
        });
  if (deviceRegistry !== undefined) health.addCheck('device registry', () => deviceRegistry.readiness());
  const { queryApiUrl } = config;
  const browserSessions = queryApiUrl === undefined ? undefined : createSessionReader({ queryApiUrl, metrics });
  const identify = createAuthentication(config, keys, createRefusedTokens({ ...config, registry }), browserSessions);
  const authenticate: typeof identify = async (request) => {
    const publisher = await identify(request);
    deviceRegistry?.check(publisher.claims);
    return publisher;
  };

  const connection = started.adopt(
    openBrokerConnection({
      url: config.amqpUrl,
      name: 'ingest-ws',
      logger,
      heartbeatSeconds: config.amqpHeartbeatSeconds,
      onOpen: declareTopology(topology),
    }),
    (one) => one.close(),
  );
  connection.opened.catch((error: unknown) => {
    if (!(error instanceof ConnectionClosedError))
      logger.error({ err: error }, 'broker rejected the topology or the credentials; still retrying');
  });
  health.addCheck('broker', () => connection.state === 'open' || `connection is ${connection.state}`);
  const publisher = started.adopt(
    createPublisher(connection, {
      logger,
      messagesInFlightMax: config.publishMessagesInFlightMax,
      bytesInFlightMax: config.publishBytesInFlightMax,
      confirmTimeoutMs: config.confirmTimeoutMs,
    }),
    (one) => one.close(),
  );

  const reconciliation = new ReconciliationCounts({
    devicesMax: config.reportDevicesMax,
    minutesMax: reportMinutesMax,
  });
  const numbers = new EnvelopeNumbers();
  started.adopt(
    startEdgeReporter({
      instanceId: numbers.instanceId,
      reconciliation,
      positions: () => numbers.drain(intake.numberedBefore),
      publisher,
      intervalMs: config.reportIntervalMs,
      logger,
    }),
    (one) => one.finish(config.drainTimeoutMs * lastReportShare),
  );
  // A channel of its own: readings that fill the window of theirs do not delay the beats, which would end the lease.
  const presencePublisher = started.adopt(
    createPublisher(connection, {
      logger,
      messagesInFlightMax: 1,
      bytesInFlightMax: presenceBytesInFlightMax,
      confirmTimeoutMs: config.confirmTimeoutMs,
    }),
    (one) => one.close(),
  );
  const presence = started.adopt(
    new PresenceReporter({
      edge: numbers.instanceId,
      publisher: presencePublisher,
      logger,
      onGeneration: () => metrics.edgeGenerations.inc(),
    }),
    (one) => one.finish(config.drainTimeoutMs * lastReportShare),
  );
  const outcomes = new ReadingOutcomes(metrics.readings, reconciliation);
  const autoSequence = new AutoSequence({ devicesMax: autoSequenceDevicesMax });
  const admission = new Admission({ autoSequence, outcomes, metrics, registry: deviceRegistry });
  const ackSchedule = new AckSchedule();
  const sessions = new Sessions(ackSchedule);
  const holders = new DeviceHolders({ gatewayDevicesMax, socketOfDevice: (deviceId) => sessions.ofDevice(deviceId) });
  const { commands } = started.adopt(
    startCommands({ connection, edge: numbers.instanceId, holders, config, metrics, logger }),
    (one) => one.finish(config.drainTimeoutMs * lastReportShare),
  );
  const live = started.adopt(
    startLive({
      config,
      service: 'ingest-ws',
      queryApiUrl: config.queryApiUrl,
      logger,
      registry,
      amqpHeartbeatSeconds: config.amqpHeartbeatSeconds,
    }),
    (one) => one.close(),
  );
  const awaiting = new AwaitingStored({
    runsMax: config.awaitingStoredMax,
    isRecovered: config.queryApiUrl !== undefined,
    metrics,
  });
  if (config.queryApiUrl !== undefined)
    started.adopt(
      startStoredNotices({
        awaiting,
        connection,
        instanceId: numbers.instanceId,
        queryApiUrl: config.queryApiUrl,
        logger,
      }),
      (one) => one.close(),
    );
  const feed = live.openFeed(numbers.instanceId);
  const intake = new Intake({
    connection,
    publisher,
    numbers,
    feed,
    awaiting,
    bounds: {
      readingsMax: config.envelopeReadingsMax,
      bytesMax: config.envelopeBytesMax,
      lingerMs: config.envelopeLingerMs,
    },
    bufferBytesMax: config.bufferBytesMax,
    answerTimeoutMs: config.answerTimeoutMs,
    metrics,
    logger,
    tracer,
    onCongestion: (isCongested) => {
      logger.info(
        { isCongested, bufferedBytes: intake.bufferedBytes, connection: connection.state },
        isCongested ? 'sockets paused' : 'sockets resumed',
      );
      metrics.congested.set(isCongested ? 1 : 0);
      sessions.setPaused(isCongested);
    },
  });

  started.adopt(
    startInstanceBeats({
      identity: identityOf('ingest-ws', config, numbers.instanceId),
      activity: () => ({
        isWorking: intake.isAcknowledging,
        handled: metrics.readings.get('accepted'),
        sockets: sessions.size,
      }),
      tell: (beat) => live.broker.publishTransient(instanceBeatType, beat),
    }),
    (one) => one.stop(),
  );

  const shares = new SubjectShares({
    bytesInFlightMax: config.subjectBytesInFlightMax,
    streamsMax: config.subjectStreamsMax,
    deviceStreamsMax: config.deviceStreamsMax,
    isLimited: config.authMode !== 'open',
  });

  const app = createHttpApp({
    logger,
    tracer,
    registry,
    health,
    trustProxyHops: config.trustProxyHops,
    bodyBytesMax: config.payloadBytesMax,
    origins: config,
    routes: (base) => {
      base.use(
        telemetryRoute({
          authenticate,
          admission,
          outcomes,
          intake,
          payloadBytesMax: config.payloadBytesMax,
          requestsPerMinuteMax: config.httpRequestsPerMinuteMax,
          requestsInFlightMax: config.httpRequestsInFlightPerSubjectMax,
          shares,
          metrics,
        }),
      );
    },
  });
  const stopping = new AbortController();
  const following = deviceRegistry?.run(stopping.signal);
  started.defer(async () => {
    stopping.abort(new Error('the service is stopping'));
    await following;
  });
  const http = started.adopt(await listen(app, { host: config.host, port: config.port }), (one) => one.stop());
  sessions.startHeartbeats(config.heartbeatIntervalMs, {
    currentKeys: async () => keys && thumbprintsOf(await keys.current()),
    readSession: browserSessions?.read,
  });
  started.defer(() => sessions.closeAll(closeSocketsTimeoutMs));
  started.defer(() => intake.drain());
  serveDeviceSockets({
    server: http.server,
    authenticate,
    origins: config,
    sessions,
    connectionLimits: new ConnectionLimits({ config, metrics }),
    presence,
    trustProxyHops: config.trustProxyHops,
    metrics,
    logger,
    tracer,
    isDraining: () => health.readiness().draining,
    context: {
      admission,
      outcomes,
      intake,
      shares,
      history: new StreamHistory({ streamsMax: rememberedStreamsMax }),
      ackSchedule,
      holders,
      commands,
      controls: {
        send: config.queryApiUrl === undefined ? undefined : createControlClient(config.queryApiUrl, stopping.signal),
        inFlightMax: config.controlsInFlightMax,
      },
      live: { hub: live.hub, checkToken: createTokenCheck(config, keys), watcherBytesMax: config.watcherBytesMax },
      awaiting,
      plain: {
        hub: live.hub,
        feed,
        controls: new PlainControls({
          edge: numbers.instanceId,
          broker: live.broker,
          bytesMax: config.watcherBytesMax,
        }),
        snapshots: new PlainSnapshots({ queryApiUrl: config.queryApiUrl, bytesMax: config.watcherBytesMax, metrics }),
      },
      metrics,
      limits: config,
    },
  });
  logger.info({ url: http.url }, 'listening');

  const resources = started.move();
  // 1. readiness off, 2. load balancers notice, 3. new readings are nacked, queued ones are published and confirmed, 4. the last acks are sent
  // and sockets close with 1001, 5. HTTP answers in flight finish, 6. the last edge report, 7. publisher and 8. broker connection close
  const drain = async (): Promise<void> => {
    health.setDraining();
    await sleep(config.drainGraceMs);
    await resources.disposeAsync();
  };
  let drained: Promise<void> | undefined;
  return {
    url: http.url,
    webSocketUrl: `${http.url.replace('http', 'ws')}/ws`,
    port: http.port,
    stop: () => (drained ??= drain()),
  };
}
