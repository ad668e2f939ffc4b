import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerConnection } from '@fleetwire/broker/connection';
import { type Consumer, createConsumer } from '@fleetwire/broker/consumer';
import { queues } from '@fleetwire/broker/topology';
import { edgeLeaseMs, type Moment, type Presence } from '@fleetwire/contracts/presence';
import type { PresenceChange } from '@fleetwire/contracts/presence-event';
import { decodePresenceFact, type PresenceFact, presenceTypes } from '@fleetwire/contracts/presence-facts';
import type { Logger } from '@fleetwire/runtime/logger';
import { devicesCameOnline } from '@fleetwire/store/commands/dispatch';
import type { Database } from '@fleetwire/store/database';
import {
  asPresenceOwner,
  restorePresence,
  writeConnections,
  writePresence,
} from '@fleetwire/store/presence/write-presence';
import type { BrokerAcceptance } from './broker-acceptance.ts';
import type { PresenceEvents } from './change-events.ts';
import type { DatabaseGate } from './database-gate.ts';
import type { WorkerMetrics } from './metrics.ts';
import { SendingDevices } from './sending-devices.ts';

const factsUnackedMax = 200;
/** Between two looks at the leases, and between two renewals of the ownership. */
const stepMs = 1_000;
/** After a longer pause of this process, of Postgres or of the broker, beats may be missing that were sent: the leases begin anew. */
const pauseMsMax = edgeLeaseMs / 3;
const failurePauseMs = 1_000;

export interface PresenceOptions {
  readonly connection: BrokerConnection;
  readonly pool: Database['pool'];
  readonly gate: DatabaseGate;
  /** Names this worker among all. */
  readonly worker: string;
  readonly acceptance: BrokerAcceptance;
  readonly events: PresenceEvents;
  readonly metrics: Pick<WorkerMetrics, 'presenceFacts' | 'edgesLost' | 'presenceConvergenceSeconds'>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

interface PendingFact {
  readonly fact: PresenceFact;
  readonly settled: PromiseWithResolvers<void>;
}

/**
 * Derives presence from the facts of the edges. One worker at a time does: the broker delivers the facts to one, and a row in Postgres
 * excludes a worker that was paused while another one took over. What is stored is the state to continue from.
 */
export class PresenceWorker {
  readonly #options: PresenceOptions;
  readonly #consumer: Consumer;
  readonly #running: Promise<void>;
  readonly #sending: SendingDevices;
  #pending: PendingFact[] = [];
  #wake = Promise.withResolvers<void>();
  /** Undefined while another worker is the owner, and when the stored state has to be read again. */
  #presence: Presence | undefined;
  #steppedAt = 0;

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#sending = new SendingDevices(options);
    this.#consumer = createConsumer(options.connection, {
      logger: options.logger,
      queue: queues.presence,
      prefetch: factsUnackedMax,
      handle: async ({ content, messageId }) => {
        const fact = decodePresenceFact(content);
        options.metrics.presenceFacts.inc({ result: fact.ok ? 'applied' : 'unreadable' });
        if (!fact.ok) {
          options.logger.warn({ messageId, issue: fact.issue }, 'unreadable presence message dropped');
          return 'ack';
        }
        const settled = Promise.withResolvers<void>();
        this.#pending.push({ fact: fact.value, settled });
        this.#wake.resolve();
        await settled.promise;
        return 'ack';
      },
    });
    this.#running = this.#run();
  }

  get subscribed(): boolean {
    return this.#consumer.subscribed;
  }

  /** Facts that are not written stay in the queue. */
  drain(timeoutMs: number): Promise<boolean> {
    return this.#consumer.drain(timeoutMs);
  }

  /** Resolves after the signal was aborted. */
  whenStopped(): Promise<void> {
    return this.#running;
  }

  async #run(): Promise<void> {
    const { gate, logger, signal } = this.#options;
    while (!signal.aborted) {
      await Promise.race([this.#wake.promise, sleep(stepMs, undefined, { signal }).catch(() => {})]);
      this.#wake = Promise.withResolvers();
      const batch = this.#pending;
      this.#pending = [];
      try {
        await gate.retryWhileUnavailable(() => this.#step(batch.map(({ fact }) => fact)));
        for (const { settled } of batch) settled.resolve();
        if (this.#presence !== undefined) await this.#sending.look();
      } catch (error) {
        // Back to the queue: the next delivery may succeed, with this worker or another one.
        for (const { settled } of batch) settled.reject(error);
        settledSilently(batch);
        if (signal.aborted) break;
        logger.error({ err: error }, 'failed to write presence; retrying');
        await sleep(failurePauseMs, undefined, { signal }).catch(() => {});
      }
    }
    for (const { settled } of this.#pending) settled.reject(signal.reason);
    settledSilently(this.#pending);
  }

  async #step(facts: readonly PresenceFact[]): Promise<void> {
    const { pool, worker, acceptance, events, metrics, logger } = this.#options;
    // Without a subscription, or while the broker takes no messages, no beat arrives, and nothing can be said about leases.
    const hearsEdges = this.#consumer.subscribed && acceptance.within(pauseMsMax);
    if (!hearsEdges) this.#presence = undefined;
    if (!hearsEdges && facts.length === 0) return;
    const known = this.#presence;
    this.#presence = undefined;
    const state: {
      presence: Presence | undefined;
      lost: ReturnType<Presence['advance']>;
      changes: readonly PresenceChange[];
    } = { presence: known, lost: [], changes: [] };
    const isOwner = await asPresenceOwner(pool, {
      worker,
      takesOver: facts.length > 0,
      step: async (client, isNewOwner) => {
        const now = moment();
        const isPaused = now.monotonic - this.#steppedAt > pauseMsMax;
        if (isNewOwner) logger.info({ worker }, 'this worker derives presence');
        const presence =
          isNewOwner || isPaused || state.presence === undefined ? await restorePresence(client, now) : state.presence;
        state.presence = presence;
        for (const fact of facts) presence.apply(fact, now);
        state.lost = presence.advance(now);
        const { connections, devices } = presence.changes();
        await writeConnections(client, connections);
        await devicesCameOnline(
          client,
          connections.flatMap(({ deviceId, end }) => (end === undefined ? [deviceId] : [])),
        );
        state.changes = await writePresence(client, devices);
      },
    });
    if (!isOwner) return;
    for (const edge of state.lost) {
      logger.warn(edge, 'edge lease expired');
      metrics.edgesLost.inc();
      metrics.presenceConvergenceSeconds.observe({ cause: 'edge-lost' }, edge.silentMs / 1_000);
    }
    for (const fact of facts)
      if (fact.type === presenceTypes.sessions)
        metrics.presenceConvergenceSeconds.observe(
          { cause: 'reported' },
          Math.max(0, Date.now() - fact.occurredAt) / 1_000,
        );
    events.publish(state.changes);
    state.presence?.clearChanges();
    this.#presence = state.presence;
    this.#steppedAt = performance.now();
  }
}

function moment(): Moment {
  return { monotonic: performance.now(), wall: Date.now() };
}

/** The consumer handles the rejection, but only if the handler still waits. */
function settledSilently(batch: readonly PendingFact[]): void {
  for (const { settled } of batch) settled.promise.catch(() => {});
}
