import type { BrokerConnection } from '@fleetwire/broker/connection';
import { openPrivateQueue } from '@fleetwire/broker/private-queue';
import { exchanges } from '@fleetwire/broker/topology';
import { parseStoredNotice } from '@fleetwire/contracts/stored-notice';
import type { Logger } from '@fleetwire/runtime/logger';
import type { AwaitingStored } from './awaiting-stored.ts';
import { recoverStoredNotices } from './stored-recovery.ts';

export interface StoredNoticesOptions {
  readonly awaiting: AwaitingStored;
  readonly connection: BrokerConnection;
  /** Of this edge. */
  readonly instanceId: string;
  readonly queryApiUrl: string;
  readonly logger: Logger;
}

const queueMessagesMax = 10_000;
const queueBytesMax = 64 * 1024 * 1024;

/** Receives what workers say of the envelopes of this edge, and asks query-api where they said nothing. */
export function startStoredNotices({ awaiting, connection, instanceId, queryApiUrl, logger }: StoredNoticesOptions) {
  const queue = openPrivateQueue(connection, {
    logger,
    namePrefix: `stored.${instanceId}`,
    exchange: exchanges.stored,
    routingKeys: [instanceId],
    messagesMax: queueMessagesMax,
    bytesMax: queueBytesMax,
    // Notices that were published before are lost.
    onBound: () => {},
    onMessage: (content) => {
      const notice = parseStoredNotice(JSON.parse(content.toString('utf8')));
      if (notice.ok) awaiting.receive(notice.value);
      else logger.warn({ issue: notice.issue }, 'unreadable stored notice dropped');
    },
  });
  const stopping = new AbortController();
  const recovering = recoverStoredNotices({ awaiting, instanceId, queryApiUrl, logger, signal: stopping.signal });
  return {
    close: async (): Promise<void> => {
      stopping.abort(new Error('the service is stopping'));
      await Promise.all([queue.close(), recovering]);
    },
  };
}
