import type { Headers } from '@fleetwire/broker/retry-headers';
import type { Publisher } from '@fleetwire/broker/publisher';
import { exchanges } from '@fleetwire/broker/topology';
import { transientJson } from '@fleetwire/broker/transient-json';
import type { DeadLetter } from '@fleetwire/contracts/dead-letter';
import { positionOf } from '@fleetwire/contracts/envelope-position';
import {
  type ConflictingReading,
  type DeadReading,
  type StoredNotice,
  storedNoticeType,
} from '@fleetwire/contracts/stored-notice';
import type { ReadingFates } from './poison-isolation.ts';

const collectMs = 10;
/** Dead and conflicting readings in one notice: beyond them it is published without waiting for more. */
const readingsPerNoticeMax = 1_000;
/** Of what Postgres said about a dead letter. */
const messageCharactersMax = 300;

interface Pending {
  readonly committedAt: number;
  readonly numbers: number[];
  readonly dead: DeadReading[];
  readonly conflicting: ConflictingReading[];
}

/**
 * Tells edges which of their envelopes are settled, where devices asked for it: collected for a few milliseconds, one message for each edge.
 * A notice may be lost; the edge then asks query-api.
 */
export class StoredNotices {
  readonly #publisher: Publisher;
  readonly #pending = new Map<string, Pending>();
  #timer: NodeJS.Timeout | undefined;

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
  }

  /**
   * Every reading of the message has its final fate. Of a half of a split message nothing is told: all dead readings of an envelope must be
   * in the notice that has its number.
   */
  add(headers: Headers, { dead = [], conflicts = [] }: ReadingFates): void {
    const position = positionOf(headers);
    if (position === undefined || position.part !== '') return;
    const { instanceId, number } = position;
    let pending = this.#pending.get(instanceId);
    if (pending === undefined)
      this.#pending.set(instanceId, (pending = { committedAt: Date.now(), numbers: [], dead: [], conflicting: [] }));
    pending.numbers.push(number);
    for (const letter of dead) pending.dead.push(deadReadingOf(number, letter));
    for (const { deviceId, epoch, seq } of conflicts) pending.conflicting.push({ number, deviceId, epoch, seq });
    if (pending.dead.length + pending.conflicting.length > readingsPerNoticeMax) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), collectMs);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [instanceId, pending] of this.#pending)
      this.#publish(instanceId, { type: storedNoticeType, ...pending });
    this.#pending.clear();
  }

  #publish(instanceId: string, notice: StoredNotice): void {
    this.#publisher
      .publish(transientJson(exchanges.stored, instanceId, notice))
      // Lost: the edge asks query-api for envelopes of which it hears nothing.
      .catch(() => {});
  }
}

function deadReadingOf(number: number, { deviceId, epoch, seq, reason, error, id }: DeadLetter): DeadReading {
  return {
    number,
    ...(deviceId === undefined ? {} : { deviceId }),
    ...(epoch === undefined ? {} : { epoch }),
    ...(seq === undefined ? {} : { seq }),
    reason,
    message: error.message.slice(0, messageCharactersMax),
    deadLetterId: id,
  };
}
