import type { components } from '@fleetwire/client/openapi';

type Schemas = components['schemas'];
export type Report = Schemas['ReconciliationReport'];
type Queue = Schemas['Queue'];
export type Instance = Schemas['Instance'];

/** An instance as the picture draws it: a box that shares the ribbon of its stage. */
export interface InstanceFacts {
  readonly id: string;
  readonly name: string;
  /** Readings per second; undefined where not known of this instance. */
  readonly perSecond: number | undefined;
  /** When it was heard last, where it has stopped without saying so and no operator has acknowledged it. */
  readonly stoppedAt: number | undefined;
  /** A second line: `3 of 4 slots busy`. */
  readonly note: string;
}

/** What the pipeline is known to do now, put together of the API's answers. What has not been answered yet is undefined. */
export interface PipelineFacts {
  readonly now: number;
  /** Are the values younger than the bound from which on nothing may move? */
  readonly isFresh: boolean;
  readonly devices: { readonly online: number; readonly total: number } | undefined;
  /** Readings per second that arrive, and that are stored. */
  readonly inPerSecond: number | undefined;
  readonly storedPerSecond: number | undefined;
  /** The highest of both in the last hour: what the width of the ribbons is measured by. */
  readonly highestPerSecond: number;
  /** Have instances been asked for? */
  readonly areInstancesKnown: boolean;
  readonly ingest: readonly InstanceFacts[];
  readonly workers: readonly InstanceFacts[];
  readonly queue: QueueFacts | undefined;
  /** When the oldest reading was the oldest, in the range that the page shows. */
  readonly peak: { readonly at: number; readonly seconds: number } | undefined;
  readonly answering: number;
  /** Workers that pause because Postgres does not write. */
  readonly holding: number;
  readonly retries: readonly { readonly label: string; readonly messages: number }[];
  readonly brokerAlarms: readonly string[];
  readonly broker: 'up' | 'down' | 'not-configured' | undefined;
  readonly database: { readonly state: 'unknown' | 'up' | 'down'; readonly latencyMs: number | undefined } | undefined;
  readonly circuits: readonly { readonly name: string; readonly state: 'closed' | 'half-open' | 'open' }[];
  readonly apiMs: number | undefined;
  /** Readings a second that were sent back to devices in the last whole minute. */
  readonly nackedPerSecond: number | undefined;
  readonly accounts: Pick<Report['total'], 'state' | 'missing' | 'surplus' | 'acknowledged'> | undefined;
  readonly deadLetters: { readonly open: number; readonly newestAt: number | undefined } | undefined;
  /** How far history is behind. */
  readonly delayMs: number | undefined;
}

export interface QueueFacts {
  /** An estimate; undefined where no worker has said how large messages are. */
  readonly readings: number | undefined;
  readonly messages: number;
  readonly oldestMs: number | undefined;
  readonly drainMs: number | undefined;
  readonly fullInMs: number | undefined;
  /** Of the nearest bound, 0 to 1. */
  readonly fullness: number | undefined;
  /** Change in readings per second, in messages where their size is not known. */
  readonly netPerSecond: number | undefined;
  readonly consumers: number;
  readonly flowsIn: boolean;
  readonly flowsOut: boolean;
  readonly verdict: Queue['bottleneck']['verdict'];
  readonly why: string;
}

export function queueFacts(queue: Queue): QueueFacts {
  const messages = queue.ready + (queue.unacked ?? 0);
  const perMessage = readingsPerMessage(queue) ?? 1;
  const { in: entering, out: leaving } = queue.rates;
  const net = entering !== null && leaving !== null ? entering - leaving : queue.rates.net;
  const { fullness } = queue.bounds;
  const room = fullness === null || fullness === 0 ? undefined : (messages / fullness) * (1 - fullness);
  return {
    readings: queue.readingsEstimate ?? undefined,
    messages,
    oldestMs: messages === 0 || queue.oldest.ageSeconds === null ? undefined : queue.oldest.ageSeconds * 1_000,
    drainMs: queue.drain.seconds === null ? undefined : queue.drain.seconds * 1_000,
    fullInMs: net === null || net <= 0 || room === undefined ? undefined : (room / net) * 1_000,
    fullness: fullness ?? undefined,
    netPerSecond: net === null ? undefined : net * perMessage,
    consumers: queue.consumers,
    flowsIn: (entering ?? 0) > 0,
    flowsOut: (leaving ?? 0) > 0,
    verdict: queue.bottleneck.verdict,
    why: queue.bottleneck.why,
  };
}

/** Undefined also where the estimate is older than the count of messages, and less: a message holds at least one reading. */
function readingsPerMessage({ ready, unacked, readingsEstimate }: Queue): number | undefined {
  const messages = ready + (unacked ?? 0);
  return messages > 0 && readingsEstimate !== null && readingsEstimate >= messages
    ? readingsEstimate / messages
    : undefined;
}

/**
 * Readings per second into and out of the queue now. While messages are in it, the broker's rates and the size of these messages say it;
 * an empty queue tells no size, so that the last whole minute of the reconciliation report says it.
 */
export function readingRates(
  queue: Queue | undefined,
  minute: { readonly received: number; readonly stored: number } | undefined,
): { readonly received: number | undefined; readonly stored: number | undefined } {
  const size = queue === undefined ? undefined : readingsPerMessage(queue);
  const of = (messages: number | null | undefined, known: number | undefined) =>
    messages === 0 ? 0 : size !== undefined && typeof messages === 'number' ? messages * size : known;
  return { received: of(queue?.rates.in, minute?.received), stored: of(queue?.rates.out, minute?.stored) };
}

/** The retry steps in their order, by the names of their queues. */
export function retriesOf(queues: readonly Queue[]): { label: string; messages: number }[] {
  const labels: Record<string, string> = { '10s': '10 s', '1m': '1 min', '10m': '10 min' };
  return Object.entries(labels).map(([step, label]) => {
    const queue = queues.find(({ name }) => name === `telemetry.retry.${step}`);
    return { label, messages: queue === undefined ? 0 : queue.ready + (queue.unacked ?? 0) };
  });
}

/** The instances of a service that run, and those that have stopped without saying so, unless that is known. */
export function instancesOf(all: readonly Instance[], service: Instance['service']): InstanceFacts[] {
  return all
    .filter((one) => one.service === service && one.state !== 'finished' && !one.acknowledged)
    .map(({ instanceId, name, state, lastSeenAt, perSecond, transactions }) => ({
      id: instanceId,
      name,
      perSecond: perSecond ?? undefined,
      stoppedAt: state === 'stopped' ? Date.parse(lastSeenAt) : undefined,
      note:
        state === 'holding'
          ? 'holding'
          : transactions === null
            ? ''
            : `${transactions.busy} of ${transactions.max} slots busy`,
    }));
}

const endedShownMs = 3_600_000;

/** Those of the table: one that has said that it ends is shown for an hour. */
export function shownInstances(all: readonly Instance[], now: number): Instance[] {
  return all.filter(({ state, lastSeenAt }) => state !== 'finished' || now - Date.parse(lastSeenAt) < endedShownMs);
}
