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
  /**
   * Sends the remaining counts in a report with `isLast`. Gives up after `timeoutMs`: reconciliation then shows that a
   * report is missing. An instance that has sent no report and counted nothing is unknown to reconciliation and sends none.
   */
  finish(timeoutMs: number): Promise<void>;
}

/**
 * Publishes the counts every `intervalMs`, on the same route as the readings. Empty reports are sent too: an instance that stops reporting
 * has crashed. One report is in flight at a time and is repeated under its number until it is confirmed; what is counted until then is in the next report.
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
    entries: reconciliation.drain(),
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
        // A PublishError needs no log line of its own: the broker connection logs its loss, and the readings are nacked.
        if (!(error instanceof PublishError))
          logger.error({ err: error }, 'edge report failed with an unexpected error');
        return false;
      },
    );

  const run = async (): Promise<void> => {
    // The first report does not wait for the interval, so that reconciliation knows an instance that crashes early.
    await publisher.whenWritable(finishing.signal).catch(() => {});
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
    if (sequence === 0 && reconciliation.isEmpty) return;
    for (let isLast = false; !isLast;) {
      unconfirmed ??= next(true);
      isLast = unconfirmed.isLast;
      while (!(await attempt())) {
        // A publisher that is not writable refuses in the same tick: without a pause no timer could fire.
        await sleep(retryPauseMs, undefined, { signal }).catch(() => {});
        if (signal.aborted)
          return logger.warn(
            { instanceId, sequence },
            'the last edge report was not confirmed; reconciliation will show it as missing',
          );
      }
    }
  };
  let finished: Promise<void> | undefined;

  return {
    instanceId,
    finish: (timeoutMs) => (finished ??= sendRest(timeoutMs)),
  };
}
