import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PublishError } from '@fleetwire/broker/errors';
import type { Publisher } from '@fleetwire/broker/publisher';
import { exchanges, routingKeys } from '@fleetwire/broker/topology';
import {
  type EdgeReport,
  edgeReportSchemaVersion,
  edgeReportType,
  encodeEdgeReport,
} from '@fleetwire/contracts/edge-report';
import type { Logger } from '@fleetwire/runtime/logger';
import type { ReconciliationCounts } from './reconciliation-counts.ts';

const retryPauseMs = 50;

export interface EdgeReporterOptions {
  readonly reconciliation: ReconciliationCounts;
  readonly publisher: Publisher;
  readonly intervalMs: number;
  readonly logger: Logger;
}

export interface EdgeReporter {
  readonly instanceId: string;
  /** Reports what is left and says that nothing follows. Gives up after `timeoutMs`: the books then show that a report is missing. */
  finish(timeoutMs: number): Promise<void>;
}

/**
 * Sends what was counted down the way of the readings, every `intervalMs`, also when it is nothing: silence is how the death of an
 * instance shows. One report is under way at a time, and goes again under its number until it is confirmed; counting goes on meanwhile.
 */
export function startEdgeReporter({
  reconciliation,
  publisher,
  intervalMs,
  logger,
}: EdgeReporterOptions): EdgeReporter {
  const instanceId = randomUUID();
  const finishing = new AbortController();
  let sequence = 0;
  let unconfirmed: EdgeReport | undefined;

  const next = (isLast: boolean): EdgeReport => ({
    id: randomUUID(),
    type: edgeReportType,
    schemaVersion: edgeReportSchemaVersion,
    occurredAt: Date.now(),
    instanceId,
    sequence: (sequence += 1),
    isLast,
    entries: reconciliation.take(),
  });
  const send = async (): Promise<void> => {
    if (unconfirmed === undefined) return;
    await publisher.publish({
      exchange: exchanges.telemetry,
      routingKey: routingKeys.persist,
      messageId: unconfirmed.id,
      type: edgeReportType,
      contentType: 'application/json',
      content: encodeEdgeReport(unconfirmed),
    });
    unconfirmed = undefined;
  };
  const attempt = (): Promise<boolean> =>
    send().then(
      () => true,
      (error: unknown) => {
        // Without the broker nothing is accepted either; the sockets hear of it, and so does the log.
        if (!(error instanceof PublishError)) logger.error({ err: error }, 'a report of the books could not be sent');
        return false;
      },
    );

  const run = async (): Promise<void> => {
    // The first goes out at once: an instance that dies young is known all the same.
    for (;;) {
      if (publisher.writable) {
        unconfirmed ??= next(false);
        await attempt();
      }
      await sleep(intervalMs, undefined, { signal: finishing.signal }).catch(() => {});
      if (finishing.signal.aborted) return;
    }
  };
  const running = run();

  const sendRest = async (timeoutMs: number): Promise<void> => {
    const signal = AbortSignal.timeout(timeoutMs);
    finishing.abort();
    await running;
    for (let isLast = false; !isLast;) {
      unconfirmed ??= next(true);
      isLast = unconfirmed.isLast;
      while (!(await attempt())) {
        // A publisher that refuses does so at once: without a pause no timer would ever run again.
        await sleep(retryPauseMs, undefined, { signal }).catch(() => {});
        if (signal.aborted)
          return logger.warn({ instanceId, sequence }, 'the last report of the books was not confirmed');
      }
    }
  };
  let finished: Promise<void> | undefined;

  return {
    instanceId,
    finish: (timeoutMs) => (finished ??= sendRest(timeoutMs)),
  };
}
