import { setTimeout as sleep } from 'node:timers/promises';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { ConnectionClosedError } from '@fleetwire/broker/errors';
import { createPublisher } from '@fleetwire/broker/publisher';
import { declareTopology, fleetwireTopology, type Topology } from '@fleetwire/broker/topology';
import { createHealth } from '@fleetwire/runtime/health';
import { createHttpApp } from '@fleetwire/runtime/http';
import { listen } from '@fleetwire/runtime/listen';
import type { Logger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { createRefusedTokens } from '@fleetwire/runtime/refused-tokens';
import { type Tracer, untraced } from '@fleetwire/runtime/trace-context';
import { Admission } from './admission.ts';
import { createAuthentication } from './authentication.ts';
import { AutoSequence } from './auto-sequence.ts';
import type { IngestConfiguration } from './configuration.ts';
import { ConnectionLimits } from './connection-limits.ts';
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
  const authenticate = await createAuthentication(config, createRefusedTokens({ ...config, registry }));

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
  started.adopt(startEdgeReporter({ reconciliation, publisher, intervalMs: config.reportIntervalMs, logger }), (one) =>
    one.finish(config.drainTimeoutMs * lastReportShare),
  );
  const outcomes = new ReadingOutcomes(metrics.readings, reconciliation);
  const autoSequence = new AutoSequence({ devicesMax: autoSequenceDevicesMax });
  const admission = new Admission({ autoSequence, outcomes, metrics });
  const ackSchedule = new AckSchedule();
  const sessions = new Sessions(ackSchedule);
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
        }),
      );
    },
  });
  const http = started.adopt(await listen(app, { host: config.host, port: config.port }), (one) => one.stop());
  sessions.startHeartbeats(config.heartbeatIntervalMs);
  started.defer(() => sessions.closeAll(closeSocketsTimeoutMs));
  started.defer(() => intake.drain());
  serveDeviceSockets({
    server: http.server,
    authenticate,
    origins: config,
    sessions,
    connectionLimits: new ConnectionLimits({ config, metrics }),
    trustProxyHops: config.trustProxyHops,
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
