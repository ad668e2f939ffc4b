import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PublishError } from '@fleetwire/broker/errors';
import type { Publisher } from '@fleetwire/broker/publisher';
import { exchanges, routingKeys } from '@fleetwire/broker/topology';
import { settledWithin } from '@fleetwire/broker/waiting';
import {
  type EdgePositions,
  type EdgeReport,
  edgeReportSchemaVersion,
  edgeReportType,
  encodeEdgeReport,
} from '@fleetwire/contracts/edge-report';
import type { Logger } from '@fleetwire/runtime/logger';
import type { ReconciliationCounts } from './reconciliation-counts.ts';

const retryPauseMs = 50;

export interface EdgeReporterOptions {
  readonly instanceId: string;
  readonly reconciliation: ReconciliationCounts;
  /** The positions since the previous report; called once for each. */
  readonly positions: () => Omit<EdgePositions, 'intervalMs'>;
  readonly publisher: Publisher;
  readonly intervalMs: number;
  readonly logger: Logger;
}

export interface EdgeReporter {
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
  instanceId,
  reconciliation,
  positions,
  publisher,
  intervalMs,
  logger,
}: EdgeReporterOptions): EdgeReporter {
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
    positions: { ...positions(), intervalMs },
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

  const sendRest = async (signal: AbortSignal): Promise<void> => {
    finishing.abort();
    await running;
    if (sequence === 0 && reconciliation.isEmpty) return;
    for (let isLast = false; !isLast;) {
      unconfirmed ??= next(true);
      isLast = unconfirmed.isLast;
      while (!(await attempt())) {
        // A publisher that is not writable refuses in the same tick: without a pause no timer could fire.
        await sleep(retryPauseMs, undefined, { signal }).catch(() => {});
        if (signal.aborted) return;
      }
    }
  };
  const finish = async (timeoutMs: number): Promise<void> => {
    const givingUp = new AbortController();
    // A confirm may take longer than `timeoutMs`.
    const isSent = (await settledWithin(sendRest(givingUp.signal), timeoutMs)) && unconfirmed === undefined;
    givingUp.abort();
    if (!isSent)
      logger.warn(
        { instanceId, sequence },
        'the last edge report was not confirmed; reconciliation will show it as missing',
      );
  };
  let finished: Promise<void> | undefined;

  return {
    finish: (timeoutMs) => (finished ??= finish(timeoutMs)),
  };
}
