import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PublishError } from '@fleetwire/broker/errors';
import type { Publication, Publisher } from '@fleetwire/broker/publisher';
import { exchanges, queues } from '@fleetwire/broker/topology';
import { settledWithin } from '@fleetwire/broker/waiting';
import { edgeLeaseMs } from '@fleetwire/contracts/presence';
import {
  encodePresenceFact,
  type EndedSessionFact,
  type PresenceFact,
  presenceSchemaVersion,
  presenceTypes,
  type SessionEndReason,
  type SessionFact,
  sessionsPerMessageMax,
} from '@fleetwire/contracts/presence-facts';
import type { Logger } from '@fleetwire/runtime/logger';

/** Sessions that start or end within this time are in one message. */
const lingerMs = 100;
const beatMs = 3_000;
/** A beat says nothing new when it is older; while no worker reads the queue, beats do not fill it. */
const beatExpirationMs = 60_000;
/** Ends that the broker has not confirmed. Beyond it they are left out; the next generation then ends these sessions as lost. */
const unreportedEndsMax = 100_000;

export interface PresenceReporterOptions {
  readonly edge: string;
  readonly publisher: Publisher;
  readonly logger: Logger;
  readonly onGeneration: () => void;
}

/**
 * Publishes which devices have a session on this edge, in order: each message is repeated until it is confirmed. When nothing was confirmed
 * for the time of a lease, the edge may count as lost: it begins a new generation and announces its open sessions again.
 */
export class PresenceReporter {
  readonly #options: PresenceReporterOptions;
  readonly #open = new Map<string, SessionFact>();
  readonly #unannounced = new Map<string, SessionFact>();
  readonly #finishing = new AbortController();
  readonly #running: Promise<void>;
  #ended: EndedSessionFact[] = [];
  #areEndsMissing = false;
  #unconfirmed: PresenceFact | undefined;
  #generation = 1;
  #confirmedAt = performance.now();
  #nextBeatAt = 0;

  constructor(options: PresenceReporterOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  started(session: SessionFact): void {
    this.#open.set(session.sessionId, session);
    this.#unannounced.set(session.sessionId, session);
  }

  ended(sessionId: string, reason: SessionEndReason): void {
    const session = this.#open.get(sessionId);
    if (session === undefined) return;
    this.#open.delete(sessionId);
    this.#unannounced.delete(sessionId);
    if (this.#ended.length >= unreportedEndsMax) this.#areEndsMissing = true;
    else this.#ended.push({ ...session, reason, endedAt: Date.now() });
  }

  /** Publishes the remaining facts. Gives up after `timeoutMs`: the sessions then end with the lease. */
  async finish(timeoutMs: number): Promise<void> {
    this.#finishing.abort();
    const givingUp = new AbortController();
    // A confirm may take longer than `timeoutMs`.
    await settledWithin(this.#reportRest(givingUp.signal), timeoutMs);
    givingUp.abort();
  }

  async #reportRest(signal: AbortSignal): Promise<void> {
    await this.#running;
    while (!signal.aborted && !(await this.#report())) await sleep(lingerMs, undefined, { signal }).catch(() => {});
  }

  async #run(): Promise<void> {
    const { signal } = this.#finishing;
    while (!signal.aborted) {
      const now = performance.now();
      if (now - this.#confirmedAt > edgeLeaseMs || this.#areEndsMissing) this.#beginGeneration(now);
      if ((await this.#report()) && now >= this.#nextBeatAt && (await this.#publish(this.#beat())))
        this.#nextBeatAt = now + beatMs;
      await sleep(lingerMs, undefined, { signal }).catch(() => {});
    }
  }

  #beginGeneration(now: number): void {
    const { edge, logger, onGeneration } = this.#options;
    this.#generation += 1;
    this.#areEndsMissing = false;
    this.#confirmedAt = now;
    this.#nextBeatAt = 0;
    for (const [sessionId, session] of this.#open) this.#unannounced.set(sessionId, session);
    onGeneration();
    logger.info({ edge, generation: this.#generation, sessions: this.#open.size }, 'edge generation changed');
  }

  /** @returns whether everything that is known was published */
  async #report(): Promise<boolean> {
    for (;;) {
      this.#unconfirmed ??= this.#nextFact();
      if (this.#unconfirmed === undefined) return true;
      if (!(await this.#publish(this.#unconfirmed))) return false;
      this.#unconfirmed = undefined;
    }
  }

  #nextFact(): PresenceFact | undefined {
    if (this.#unannounced.size === 0 && this.#ended.length === 0) return undefined;
    const started = [...this.#unannounced.values()].slice(0, sessionsPerMessageMax);
    for (const { sessionId } of started) this.#unannounced.delete(sessionId);
    const ended = this.#ended.splice(0, sessionsPerMessageMax);
    return { ...this.#attributes(), type: presenceTypes.sessions, started, ended };
  }

  #beat(): PresenceFact {
    return { ...this.#attributes(), type: presenceTypes.beat };
  }

  #attributes() {
    return {
      id: randomUUID(),
      schemaVersion: presenceSchemaVersion,
      occurredAt: Date.now(),
      edge: this.#options.edge,
      generation: this.#generation,
      leaseMs: edgeLeaseMs,
    };
  }

  async #publish(fact: PresenceFact): Promise<boolean> {
    // Before publishing: the lease begins when the reducer has it, which is later.
    const sentAt = performance.now();
    const message: Publication = {
      exchange: exchanges.default,
      routingKey: queues.presence,
      messageId: fact.id,
      type: fact.type,
      contentType: 'application/json',
      content: encodePresenceFact(fact),
    };
    if (fact.type === presenceTypes.beat) message.expirationMs = beatExpirationMs;
    try {
      await this.#options.publisher.publish(message);
      this.#confirmedAt = Math.max(this.#confirmedAt, sentAt);
      return true;
    } catch (error) {
      if (!(error instanceof PublishError)) throw error;
      return false;
    }
  }
}
