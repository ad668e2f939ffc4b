import { setTimeout as sleep } from 'node:timers/promises';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, fleetwireTopology, type Topology } from '@fleetwire/broker/topology';
import { createHealth } from '@fleetwire/runtime/health';
import { createHttpApp } from '@fleetwire/runtime/http';
import { listen } from '@fleetwire/runtime/listen';
import type { Logger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { type Tracer, untraced } from '@fleetwire/runtime/trace-context';
import { Admission } from './admission.ts';
import { createAuthentication } from './authentication.ts';
import { AutoSequence } from './auto-sequence.ts';
import type { IngestConfiguration } from './configuration.ts';
import { serveDeviceSockets } from './device-socket.ts';
import { startEdgeReporter } from './edge-reporter.ts';
import { Intake } from './intake.ts';
import { createIngestMetrics } from './metrics.ts';
import { AckSchedule } from './outbound.ts';
import { ReadingOutcomes } from './reading-outcomes.ts';
import { ReconciliationCounts } from './reconciliation-counts.ts';
import { Sessions } from './sessions.ts';
import { StreamHistory } from './stream-history.ts';
import { telemetryRoute } from './telemetry-route.ts';

export interface Ingest {
  readonly url: string;
  readonly webSocketUrl: string;
  readonly port: number;
  stop(): Promise<void>;
}

const rememberedStreamsMax = 100_000;
const autoSequenceDevicesMax = 100_000;
const closeSocketsTimeoutMs = 3_000;
const reportMinutesMax = 60;
/** Of the drain deadline, what the last report may take when the broker does not answer. */
const lastReportShare = 0.2;

/** Wires the edge: sockets and HTTP in, confirmed envelopes out. It listens before the broker is there, and says so in `/readyz`. */
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
  const registry = createRegistry();
  const metrics = createIngestMetrics(registry);
  const health = createHealth({ registry });
  const authenticate = await createAuthentication(config);

  const connection = openBrokerConnection({
    url: config.amqpUrl,
    name: 'ingest-ws',
    logger,
    heartbeatSeconds: config.amqpHeartbeatSeconds,
    onOpen: declareTopology(topology),
  });
  connection.opened.catch((error: unknown) =>
    logger.error({ err: error }, 'broker rejected the topology or the credentials; not retrying'),
  );
  const publisher = createPublisher(connection, {
    logger,
    messagesInFlightMax: config.publishMessagesInFlightMax,
    bytesInFlightMax: config.publishBytesInFlightMax,
    confirmTimeoutMs: config.confirmTimeoutMs,
  });
  health.addCheck('broker', () => connection.state === 'open' || `connection is ${connection.state}`);

  const ackSchedule = new AckSchedule();
  const sessions = new Sessions(ackSchedule);
  sessions.startHeartbeats(config.heartbeatIntervalMs);
  const reconciliation = new ReconciliationCounts({
    devicesMax: config.reportDevicesMax,
    minutesMax: reportMinutesMax,
  });
  const outcomes = new ReadingOutcomes(metrics.readings, reconciliation);
  const intake = new Intake({
    connection,
    publisher,
    bounds: {
      readingsMax: config.envelopeReadingsMax,
      bytesMax: config.envelopeBytesMax,
      lingerMs: config.envelopeLingerMs,
    },
    bufferBytesMax: config.bufferBytesMax,
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
  const reporter = startEdgeReporter({ reconciliation, publisher, intervalMs: config.reportIntervalMs, logger });
  const autoSequence = new AutoSequence({ devicesMax: autoSequenceDevicesMax });
  const admission = new Admission({ autoSequence, outcomes, metrics });

  const app = createHttpApp({
    logger,
    tracer,
    registry,
    health,
    trustProxyHops: config.trustProxyHops,
    bodyBytesMax: config.payloadBytesMax,
    parseBody: false,
    routes: (base) => {
      base.use(
        telemetryRoute({
          authenticate,
          admission,
          outcomes,
          intake,
          payloadBytesMax: config.payloadBytesMax,
          requestsPerMinuteMax: config.httpRequestsPerMinuteMax,
        }),
      );
    },
  });
  const listening = await listen(app, { host: config.host, port: config.port });
  serveDeviceSockets({
    server: listening.server,
    authenticate,
    sessions,
    connectionsMax: config.connectionsMax,
    metrics,
    logger,
    tracer,
    isDraining: () => health.readiness().draining,
    context: {
      admission,
      outcomes,
      intake,
      history: new StreamHistory({ streamsMax: rememberedStreamsMax }),
      ackSchedule,
      metrics,
      limits: config,
    },
  });
  logger.info({ url: listening.url }, 'listening');

  return {
    url: listening.url,
    webSocketUrl: `${listening.url.replace('http', 'ws')}/ws`,
    port: listening.port,
    // 1 readiness off · 2 new frames are nacked, what waits is published · 3 confirms come in, acks go out ·
    // 4 sockets close with 1001 · 5 HTTP answers finish · 6 the last report of the books · 7 the broker connection closes
    stop: async () => {
      health.setDraining();
      await sleep(config.drainGraceMs);
      await intake.drain();
      await sessions.closeAll(closeSocketsTimeoutMs);
      await listening.stop();
      await reporter.finish(config.drainTimeoutMs * lastReportShare);
      await publisher.close();
      await connection.close();
    },
  };
}
