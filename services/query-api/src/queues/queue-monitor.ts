import { queues, retrySteps, retryQueue } from '@fleetwire/broker/topology';
import type { MessageSize, WorkerState } from '@fleetwire/contracts/worker-state';
import { unavailable } from '@fleetwire/runtime/problem';
import type { Circuit } from '../circuit.ts';
import type { DatabaseState } from '../database-probe.ts';
import { bottleneckOf, timeToDrain, type Diagnosis, type Drain } from './bottleneck.ts';
import { type BrokerSample, messagesIn, type QueueSample, type QueueSource } from './queue-sample.ts';
import type { WorkerView } from './worker-view.ts';

/** How old the oldest message of a queue is. */
interface OldestAge {
  readonly seconds: number | null;
  /** It may be older than that. */
  readonly atLeast: boolean;
  /** It may be younger than that. */
  readonly atMost: boolean;
  /**
   * `worker`: from the worker that holds the head of the queue; `reports`: without consumers, from the newest edge report that has left the
   * queue; `observed`: from how long this service has seen no consumers.
   */
  readonly source: 'worker' | 'reports' | 'observed' | null;
}

export interface QueueReport extends QueueSample {
  /** Estimated; null where unknown. */
  readonly readings: number | null;
  readonly oldest: OldestAge;
  readonly drain: Drain;
  /** 0 to 1, of the bound that is nearest; null for an unbounded queue. */
  readonly fullness: number | null;
  readonly bottleneck: Diagnosis;
}

interface QueuesReport extends Omit<BrokerSample, 'queues'> {
  readonly queues: readonly QueueReport[];
  readonly workers: readonly WorkerState[];
  /**
   * Readings that arrived before this (epoch milliseconds) are no longer in flight: the queue is first in, first out, and retries
   * with backoff end.
   */
  readonly settledBefore: number;
}

export interface QueueMonitor {
  /** Whether the configuration names a broker to look at. */
  readonly isConfigured: boolean;
  /** @throws {Problem} 503 when neither the management API nor AMQP answers */
  read(): Promise<QueuesReport>;
}

export interface QueueMonitorOptions {
  readonly management: QueueSource | undefined;
  readonly amqp: QueueSource | undefined;
  readonly circuit: Circuit;
  readonly workers: WorkerView;
  readonly database: () => DatabaseState;
  /** When the newest recorded edge report was made, epoch milliseconds. */
  readonly newestEdgeReport: () => Promise<number | undefined>;
}

/** Callers within this time share one sample. */
const sharedMs = 500;
const amqpTimeoutMs = 2_000;
/** The sum of all retry delays, with a margin. */
const retriesMaxMs = 15 * 60_000;
/** How old the broker's counts may be, with a margin. */
const countsLagMs = 15_000;

/** Samples the queues by the management API, and by AMQP while that is unavailable. */
export function createQueueMonitor(options: QueueMonitorOptions): QueueMonitor {
  const { management, amqp, circuit, workers, database, newestEdgeReport } = options;
  /** By queue: since when it has held messages without a consumer. */
  const standing = new Map<string, number>();
  /** Of the workers that answered last: it is needed most when none answers. */
  let messageSize: MessageSize | undefined;
  let shared: { readonly until: number; readonly report: Promise<QueuesReport> } | undefined;

  const sample = async (): Promise<BrokerSample> => {
    if (management !== undefined) {
      try {
        return await circuit.run((signal) => management.sample(signal));
      } catch (error) {
        if (amqp === undefined) throw error;
      }
    }
    if (amqp === undefined)
      throw unavailable('query-api has no broker configured; set MANAGEMENT_URL or AMQP_URL', 60_000);
    return amqp.sample(AbortSignal.timeout(amqpTimeoutMs)).catch((error: Error) => {
      throw unavailable(`The broker is unreachable: ${error.message}`, 2_000);
    });
  };
  const subscribedIn = (states: readonly WorkerState[]) => states.filter(({ subscribed }) => subscribed);
  const standsStill = (queue: QueueSample): boolean => messagesIn(queue) > 0 && queue.consumers === 0;
  const reportedAt = async (seen: BrokerSample, states: readonly WorkerState[]): Promise<number | undefined> => {
    const isNeeded = seen.queues.some((queue) => queue.name === queues.persist && standsStill(queue));
    if (!isNeeded || subscribedIn(states).length > 0 || database().state !== 'up') return undefined;
    return newestEdgeReport().catch(() => undefined);
  };
  const oldestOf = (
    queue: QueueSample,
    { at, states, reported }: { at: number; states: readonly WorkerState[]; reported: number | undefined },
  ): OldestAge => {
    const exact = { atLeast: false, atMost: false };
    const subscribed = subscribedIn(states);
    if (standsStill(queue)) standing.set(queue.name, standing.get(queue.name) ?? at);
    else standing.delete(queue.name);
    if (queue.name === queues.persist && subscribed.length > 0) {
      const arrivals = subscribed.flatMap(({ oldestArrivalAt }) => oldestArrivalAt ?? []);
      const oldest = arrivals.length > 0 ? Math.min(...arrivals) : at;
      return { seconds: Math.max(0, at - oldest) / 1_000, ...exact, source: 'worker' };
    }
    const since = standing.get(queue.name);
    if (since !== undefined && queue.name === queues.persist && reported !== undefined)
      return { seconds: Math.max(0, at - reported) / 1_000, atLeast: false, atMost: true, source: 'reports' };
    if (since !== undefined) return { seconds: (at - since) / 1_000, atLeast: true, atMost: false, source: 'observed' };
    const isEmpty = queue.unacked !== null && messagesIn(queue) === 0;
    return { seconds: isEmpty ? 0 : null, ...exact, source: isEmpty ? 'observed' : null };
  };
  const look = async (): Promise<QueuesReport> => {
    const [seen, states] = await Promise.all([sample(), workers(AbortSignal.timeout(amqpTimeoutMs))]);
    messageSize = states.flatMap((state) => state.messageSize ?? [])[0] ?? messageSize;
    const reported = await reportedAt(seen, states);
    const surroundings = { alarms: seen.alarms, database: database().state, workers: states };
    return {
      ...seen,
      workers: states,
      settledBefore: settledBefore(seen, states),
      queues: seen.queues.map((queue) => ({
        ...queue,
        readings: readingsIn(queue, messageSize),
        oldest: oldestOf(queue, { at: seen.at, states, reported }),
        drain: timeToDrain(queue),
        fullness: fullnessOf(queue),
        bottleneck: bottleneckOf(queue, surroundings),
      })),
    };
  };

  return {
    isConfigured: management !== undefined || amqp !== undefined,
    read: () => {
      const now = Date.now();
      if (shared === undefined || shared.until <= now) shared = { until: now + sharedMs, report: look() };
      return shared.report;
    },
  };
}

/** Readings of the work queue, from its bytes; edge reports in it hold none. */
function readingsIn(queue: QueueSample, messageSize: MessageSize | undefined): number | null {
  if (queue.name !== queues.persist) return null;
  if (messagesIn(queue) === 0 && queue.unacked !== null) return 0;
  if (queue.bytes === null || messageSize === undefined) return null;
  const { bytesPerMessage, bytesPerReading } = messageSize;
  return Math.max(0, Math.round((queue.bytes - messagesIn(queue) * bytesPerMessage) / bytesPerReading));
}

function fullnessOf(queue: QueueSample): number | null {
  const shares = [
    queue.messagesMax === null ? 0 : messagesIn(queue) / queue.messagesMax,
    queue.bytesMax === null || queue.bytes === null ? 0 : queue.bytes / queue.bytesMax,
  ];
  return queue.messagesMax === null && queue.bytesMax === null ? null : Math.max(...shares);
}

/** @returns epoch milliseconds; 0 where unknown */
function settledBefore({ queues: list, at, source }: BrokerSample, states: readonly WorkerState[]): number {
  const messagesOf = (name: string): number => {
    const queue = list.find((one) => one.name === name);
    return queue === undefined ? 0 : messagesIn(queue);
  };
  const arrivals = states.flatMap(({ oldestArrivalAt }) => oldestArrivalAt ?? []);
  // Passive declares do not count unacknowledged messages: then only the workers know.
  const isUnknown =
    arrivals.length === 0 && (source === 'amqp' || messagesOf(queues.persist) > 0) && states.length === 0;
  if (isUnknown) return 0;
  const isRetrying = [queues.dead, ...retrySteps.map(retryQueue)].some((name) => messagesOf(name) > 0);
  return Math.min(at - countsLagMs, ...arrivals, ...(isRetrying ? [at - retriesMaxMs] : []));
}
