import type { ConflictingReading, DeadReading } from '@fleetwire/contracts/stored-notice';
import type { Caller } from './authentication.ts';
import type { AwaitedRun } from './awaiting-stored.ts';
import type { SessionParts } from './session-context.ts';
import type { Stream } from './session-streams.ts';
import { StoredAcks, type StoredRange } from './stored-acks.ts';

/** Between two counts of conflicting readings of a stream. */
const conflictIntervalMs = 60_000;
/** Beyond these, the first is forgotten, and told again when it has more. */
const conflictingStreamsMax = 1_000;

interface Conflicts {
  readonly seq: number;
  count: number;
  toldCount: number;
  toldAt: number;
}

/** A reading; without a number, one that is not known, and without a device all of the envelope. */
export type Dead = Omit<DeadReading, 'number'>;

/** Tells one socket, opened with `acks=stored`, what became of its readings after their ack. */
export class StoredAnswers {
  /** Runs that are on their way. */
  awaited = 0;
  readonly #session: SessionParts & { readonly caller: Caller };
  readonly #conflicts = new Map<Stream, Conflicts>();
  #isOpen = true;

  constructor(session: SessionParts & { readonly caller: Caller }) {
    this.#session = session;
    session.context.awaiting.add(this);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get token(): string | undefined {
    return this.#session.caller.token;
  }

  await(stream: Stream, range: StoredRange): AwaitedRun {
    return { answers: this, stream, range, isDone: false };
  }

  /**
   * All readings of the run are stored, but those in `dead`.
   * @returns false where it is not known which readings are dead: nothing is told
   */
  settle(run: AwaitedRun, dead: readonly Dead[], conflicting: readonly Omit<ConflictingReading, 'number'>[]): boolean {
    const { stream, range } = run;
    if (!(stream.acks instanceof StoredAcks)) return true;
    // Nacked as retryable before its confirm came: the device sends the readings again, and what becomes of those is told.
    if (range.stored?.isAnswered === true) return true;
    const whole = dead.find(({ deviceId }) => deviceId === undefined);
    const own = dead.filter((one) => isOf(stream, one));
    if (own.some(({ seq }) => seq === undefined)) return false;
    if (whole !== undefined) for (const seq of numbersOf(range)) this.#sendDead(stream, seq, whole);
    else for (const one of own) if (isIn(range, one.seq!)) this.#sendDead(stream, one.seq!, one);
    for (const one of conflicting) if (isOf(stream, one) && isIn(range, one.seq)) this.#noteConflict(stream, one.seq);
    stream.acks.settleStored(range);
    this.#session.scheduleAck(stream);
    return true;
  }

  /** The broker did not confirm the envelope of the run: its readings were nacked. */
  notSent({ stream, range }: AwaitedRun): void {
    if (!(stream.acks instanceof StoredAcks)) return;
    stream.acks.noLongerAwaited(range);
    this.#session.scheduleAck(stream);
  }

  /** Sends the counts of conflicting readings that have grown, each once in a minute. */
  sendCounts(): void {
    const now = performance.now();
    for (const [stream, conflicts] of this.#conflicts)
      if (conflicts.count > conflicts.toldCount && now >= conflicts.toldAt + conflictIntervalMs)
        this.#sendConflicts(stream, conflicts);
  }

  /** This edge keeps too many runs: the device gets acks alone from now on. */
  stop(): void {
    if (!this.#isOpen) return;
    const { context, streams, outbound } = this.#session;
    this.end();
    streams.stopStored();
    context.metrics.limitsReached.inc({ limit: 'awaitingStoredMax' });
    outbound.send({
      type: 'acks',
      acks: 'confirmed',
      message: `more than ${context.awaiting.runsMax} frames of this instance are not stored yet (AWAITING_STORED_MAX); acks go on, and a later session may ask again`,
    });
  }

  /** The socket has closed. */
  end(): void {
    this.#session.context.awaiting.remove(this);
    this.#isOpen = false;
    this.#conflicts.clear();
  }

  #sendDead(stream: Stream, seq: number, { reason, message, deadLetterId }: Dead): void {
    const { outbound, context } = this.#session;
    outbound.send({
      type: 'dead',
      seq,
      reason,
      message,
      ...(deadLetterId === undefined ? {} : { deadLetterId }),
      ...stream.reference,
    });
    context.metrics.storedNotices.inc({ kind: 'dead' });
  }

  #noteConflict(stream: Stream, seq: number): void {
    const known = this.#conflicts.get(stream);
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    const conflicts = { seq, count: 1, toldCount: 0, toldAt: 0 };
    this.#conflicts.set(stream, conflicts);
    if (this.#conflicts.size > conflictingStreamsMax) this.#conflicts.delete(this.#conflicts.keys().next().value!);
    // With all others of the same envelope.
    queueMicrotask(() => this.#isOpen && this.#sendConflicts(stream, conflicts));
  }

  #sendConflicts(stream: Stream, conflicts: Conflicts): void {
    const { outbound, context } = this.#session;
    conflicts.toldCount = conflicts.count;
    conflicts.toldAt = performance.now();
    outbound.send({ type: 'conflicting', seq: conflicts.seq, count: conflicts.count, ...stream.reference });
    context.metrics.storedNotices.inc({ kind: 'conflicting' });
  }
}

function isOf(stream: Stream, { deviceId, epoch }: Pick<Dead, 'deviceId' | 'epoch'>): boolean {
  return deviceId === stream.deviceId && epoch === stream.epoch;
}

function isIn({ first, last }: StoredRange, seq: number): boolean {
  return seq >= first && seq <= last;
}

/** Without those that were rejected. */
export function* numbersOf({ first, last, rejected }: StoredRange): Iterable<number> {
  const refused = new Set(rejected);
  for (let seq = first; seq <= last; seq += 1) if (!refused.has(seq)) yield seq;
}
