import { openBrokerConnection } from '@fleetwire/broker/connection';
import { declareTopology, liveTopology } from '@fleetwire/broker/topology';
import type { ConfigurationOf } from '@fleetwire/runtime/configuration';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Registry } from '@fleetwire/runtime/metrics';
import { EdgeFeed } from './edge-feed.ts';
import { createDeviceClient } from './device-client.ts';
import { createHistoryClient } from './history-client.ts';
import { LiveBroker } from './live-broker.ts';
import { LiveCursors } from './live-cursor.ts';
import { LiveHub } from './live-hub.ts';
import { createLiveMetrics } from './live-metrics.ts';
import type { liveVariables } from './live-variables.ts';

export interface LiveOptions {
  readonly config: ConfigurationOf<typeof liveVariables> & { readonly amqpUrl: string };
  /** Names the connection. */
  readonly service: string;
  /** History, and what is known of devices, are read there with the subscriber's token; without it subscriptions are live only. */
  readonly queryApiUrl: string | Promise<string> | undefined;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly amqpHeartbeatSeconds?: number;
}

export interface Live {
  readonly hub: LiveHub;
  readonly broker: LiveBroker;
  /** Publishes what is watched of the envelopes of `edge`. */
  openFeed(edge: string): EdgeFeed;
  close(): Promise<void>;
}

/** Live data of one service instance, on a connection of its own: when it backs up or breaks, envelopes and acks are not affected. */
export function startLive(options: LiveOptions): Live {
  const { config, service, queryApiUrl, logger, registry, amqpHeartbeatSeconds } = options;
  const connection = openBrokerConnection({
    url: config.amqpUrl,
    name: `${service} live`,
    logger,
    onOpen: declareTopology(liveTopology),
    ...(amqpHeartbeatSeconds === undefined ? {} : { heartbeatSeconds: amqpHeartbeatSeconds }),
  });
  const metrics = createLiveMetrics(registry);
  const broker = new LiveBroker({
    connection,
    logger,
    outboundBytesMax: config.liveOutboundBytesMax,
    queueMessagesMax: config.liveQueueMessagesMax,
    queueBytesMax: config.liveQueueBytesMax,
  });
  const cursors = new LiveCursors(config.cursorSecret ?? secretOf(config.amqpUrl));
  const hub = new LiveHub({
    broker,
    metrics,
    limits: config,
    cursors,
    history: queryApiUrl === undefined ? undefined : createHistoryClient(queryApiUrl),
    devices: queryApiUrl === undefined ? undefined : createDeviceClient(queryApiUrl),
    logger,
  });
  const feeds: EdgeFeed[] = [];
  return {
    hub,
    broker,
    openFeed: (edge) => {
      const feed = new EdgeFeed({ edge, broker, logger, metrics });
      feeds.push(feed);
      return feed;
    },
    close: async () => {
      hub.close();
      for (const feed of feeds) feed.close();
      await broker.close();
      await connection.close();
    },
  };
}

/** Instances that use the broker as the same user accept each other's cursors, also after a restart. */
function secretOf(amqpUrl: string): string {
  const { username, password, pathname } = new URL(amqpUrl);
  return JSON.stringify([username, password, pathname]);
}
