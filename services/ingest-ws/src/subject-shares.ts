import type { Claims } from '@fleetwire/contracts/access';
import { type NackReason, subjectBytesLimit } from './nack-reasons.ts';

export interface SubjectSharesOptions {
  readonly bytesInFlightMax: number;
  /** Streams of a gateway or another subject that is no device. */
  readonly streamsMax: number;
  readonly deviceStreamsMax: number;
  /** False where all callers are one subject, since no token is checked. */
  readonly isLimited: boolean;
}

/** What each subject has in flight, over all its sockets and requests: many sockets of one token fill no more of the buffer than a few. */
export class SubjectShares {
  readonly #options: SubjectSharesOptions;
  readonly #shares = new Map<string, SubjectShare>();

  constructor(options: SubjectSharesOptions) {
    this.#options = options;
  }

  /** To be closed by each socket and request that has opened it. */
  open({ role, sub }: Claims): SubjectShare {
    const key = `${role} ${sub}`;
    let share = this.#shares.get(key);
    if (share === undefined) {
      const { streamsMax, deviceStreamsMax } = this.#options;
      const limit = role === 'device' ? 'deviceStreamsMax' : 'subjectStreamsMax';
      const streams = { limit, max: role === 'device' ? deviceStreamsMax : streamsMax } as const;
      share = new SubjectShare(sub, streams, this.#options, () => this.#shares.delete(key));
      this.#shares.set(key, share);
    }
    share.holders += 1;
    return share;
  }
}

/** What keeps the streams of a socket. */
export interface StreamHolder {
  forget(stream: object): void;
}

export interface StreamBound {
  readonly limit: 'deviceStreamsMax' | 'subjectStreamsMax';
  readonly max: number;
}

export class SubjectShare {
  /** Sockets and requests that have it open. */
  holders = 0;
  /** HTTP requests that are not answered yet. */
  requests = 0;
  #bytesInFlight = 0;
  #streams = 0;
  /** Streams without readings in flight or pending resends, with their sockets; the least recently used first. */
  #idleStreams: Map<object, StreamHolder> | undefined;
  readonly streamBound: StreamBound;
  readonly #subject: string;
  readonly #options: SubjectSharesOptions;
  readonly #forget: () => void;

  constructor(subject: string, streamBound: StreamBound, options: SubjectSharesOptions, forget: () => void) {
    this.streamBound = streamBound;
    this.#subject = subject;
    this.#options = options;
    this.#forget = forget;
  }

  get isLimited(): boolean {
    return this.#options.isLimited;
  }

  /** @returns why these bytes are beyond the share; with nothing in flight even more than the share is taken */
  excess(bytes: number): NackReason | undefined {
    const { bytesInFlightMax, isLimited } = this.#options;
    const isBeyond = isLimited && this.#bytesInFlight > 0 && this.#bytesInFlight + bytes > bytesInFlightMax;
    return isBeyond ? subjectBytesLimit(this.#subject, bytesInFlightMax) : undefined;
  }

  /** Makes room for one more stream; beyond the bound, the least recently used idle one is forgotten. @returns false if none is idle */
  beginStream(): boolean {
    if (this.isLimited && this.#streams >= this.streamBound.max) {
      const oldest = this.#idleStreams?.entries().next().value;
      if (oldest === undefined) return false;
      const [stream, holder] = oldest;
      holder.forget(stream);
    }
    this.#streams += 1;
    return true;
  }

  endStream(stream: object): void {
    this.#idleStreams?.delete(stream);
    this.#streams -= 1;
  }

  setAside(stream: object, holder: StreamHolder): void {
    (this.#idleStreams ??= new Map()).set(stream, holder);
  }

  takeUp(stream: object): void {
    this.#idleStreams?.delete(stream);
  }

  begin(bytes: number): void {
    this.#bytesInFlight += bytes;
  }

  settle(bytes: number): void {
    this.#bytesInFlight -= bytes;
    this.#forgetUnused();
  }

  /** Bytes that are still in flight count on: a subject that connects again gets the same share. */
  close(): void {
    this.holders -= 1;
    this.#forgetUnused();
  }

  #forgetUnused(): void {
    if (this.holders === 0 && this.#bytesInFlight === 0) this.#forget();
  }
}
