import type { AckMessage, StoredMessage, StreamReference } from '@fleetwire/contracts/device-protocol';
import { StoredAcks } from './stored-acks.ts';
import { StreamAcks } from './stream-acks.ts';
import { type StreamHistory, keyOf } from './stream-history.ts';
import type { StreamHolder, SubjectShare } from './subject-shares.ts';

/** Streams of one gateway's socket that may have readings in flight or pending resends; a device has one or two. */
export const openStreamsMax = 10_000;

/** A stream as one socket sees it. */
export interface Stream {
  readonly deviceId: string;
  readonly epoch: string;
  /** How answers name the stream; empty for the session's own. */
  readonly reference: StreamReference;
  readonly acks: StreamAcks;
  /** How many of its pending resends are in the sum of the socket: see {@link SessionStreams.noteChanged}. */
  pendingResends: number;
  /** Unreadable frames of the socket, of any stream, that were looked at for this one: see `Rejections.nackSkipped`. */
  unreadableFramesSeen: number;
  /** Unreadable frames of this stream that were not looked at yet. */
  ownUnreadableFrames: number;
}

export interface SessionStreamsOptions {
  /** The session's own stream. */
  readonly own: { readonly deviceId: string; readonly epoch: string };
  readonly history: StreamHistory;
  /** Counts the streams of all sockets of the subject, without the sessions' own. */
  readonly share: SubjectShare;
  /** The device hears when its readings are stored. */
  readonly isStoredAsked?: boolean;
}

/** The streams of one socket: most devices have their own alone, a gateway may have thousands. */
export class SessionStreams implements StreamHolder {
  /** Unreadable frames that may have held numbered readings of any stream of the socket, which no nack could name. */
  unreadableFrames = 0;
  readonly #options: SessionStreamsOptions;
  #isStoredAsked: boolean;
  /** Kept out of the map: memory per socket is multiplied by 10,000 sockets. */
  #own: Stream | undefined;
  #others: Map<string, Stream> | undefined;
  /** Others whose acks may have moved since the last ones were taken. */
  #changed: Set<Stream> | undefined;
  #pendingResends = 0;
  /** Streams without readings in flight or pending resends, the least recently used first. They do not count towards {@link openStreamsMax}. */
  #idle: Map<string, Stream> | undefined;

  constructor(options: SessionStreamsOptions) {
    this.#options = options;
    this.#isStoredAsked = options.isStoredAsked === true;
  }

  /** @returns the limit that is reached when that many other streams, of the socket or the subject, have readings in flight or pending resends */
  find(deviceId: string, epoch: string): Stream | 'openStreamsMax' | 'subjectStreams' {
    const { own } = this.#options;
    if (deviceId === own.deviceId && epoch === own.epoch) return (this.#own ??= this.#begin(deviceId, epoch));
    const others = (this.#others ??= new Map());
    const key = keyOf(deviceId, epoch);
    const known = others.get(key);
    if (known !== undefined) return known;
    if (others.size >= openStreamsMax) return 'openStreamsMax';
    let stream = this.#idle?.get(key);
    if (stream !== undefined) {
      this.#idle?.delete(key);
      this.#options.share.takeUp(stream);
    } else {
      if (!this.#options.share.beginStream()) return 'subjectStreams';
      stream = this.#begin(deviceId, epoch);
    }
    others.set(key, stream);
    return stream;
  }

  /** Ranges of nacked readings that were not sent again, over all streams. */
  get pendingResends(): number {
    return this.#pendingResends;
  }

  /** To be called after readings of the stream were settled or nacked: {@link nextAcks} looks at no other streams, of which a gateway may have thousands. */
  noteChanged(stream: Stream): void {
    const { pendingResendRanges } = stream.acks;
    this.#pendingResends += pendingResendRanges - stream.pendingResends;
    stream.pendingResends = pendingResendRanges;
    if (stream !== this.#own) (this.#changed ??= new Set()).add(stream);
  }

  /** The acks that are due, each once, and what is stored. */
  nextAcks(): (AckMessage | StoredMessage)[] {
    const taken: (AckMessage | StoredMessage)[] = [];
    if (this.#own !== undefined) takeAcks(this.#own, taken);
    if (this.#changed === undefined) return taken;
    const changed = this.#changed;
    this.#changed = undefined;
    for (const stream of changed) {
      takeAcks(stream, taken);
      if (stream.acks.isIdle) this.#setAside(stream);
    }
    this.#forgetIdle();
    return taken;
  }

  /** From now on the device gets acks alone. */
  stopStored(): void {
    this.#isStoredAsked = false;
    for (const stream of [...(this.#idle?.values() ?? []), ...this.#all()]) {
      if (stream.acks instanceof StoredAcks) stream.acks.stopStored();
      this.noteChanged(stream);
    }
  }

  /** Writes to the history how far each stream is settled without a gap. */
  remember(): void {
    for (const { deviceId, epoch, acks } of [...(this.#idle?.values() ?? []), ...this.#all()]) {
      const upTo = acks.gaplessUpTo;
      if (upTo !== undefined) this.#options.history.remember(deviceId, epoch, upTo);
    }
  }

  /** An idle stream: its unreadable frames may have been of any stream from now on. */
  forget(stream: Stream): void {
    this.#idle?.delete(keyOf(stream.deviceId, stream.epoch));
    this.unreadableFrames += stream.ownUnreadableFrames;
    this.#options.share.endStream(stream);
  }

  /** The socket has closed. */
  end(): void {
    for (const stream of [...(this.#idle?.values() ?? []), ...(this.#others?.values() ?? [])])
      this.#options.share.endStream(stream);
    this.#idle = this.#others = this.#changed = undefined;
  }

  *#all(): Iterable<Stream> {
    if (this.#own !== undefined) yield this.#own;
    if (this.#others !== undefined) yield* this.#others.values();
  }

  #begin(deviceId: string, epoch: string): Stream {
    const { own, history } = this.#options;
    const lastSeq = history.lastSeqOf(deviceId, epoch);
    return {
      deviceId,
      epoch,
      reference: { ...(deviceId === own.deviceId ? {} : { deviceId }), ...(epoch === own.epoch ? {} : { epoch }) },
      acks: new (this.#isStoredAsked ? StoredAcks : StreamAcks)(lastSeq === undefined ? undefined : lastSeq + 1),
      pendingResends: 0,
      unreadableFramesSeen: 0,
      ownUnreadableFrames: 0,
    };
  }

  #setAside(stream: Stream): void {
    const key = keyOf(stream.deviceId, stream.epoch);
    if (this.#others?.delete(key) !== true) return;
    (this.#idle ??= new Map()).set(key, stream);
    this.#options.share.setAside(stream, this);
  }

  /** Beyond {@link openStreamsMax} idle streams the least recently used ones are forgotten. */
  #forgetIdle(): void {
    const idle = this.#idle;
    if (idle === undefined) return;
    for (const stream of idle.values()) {
      if (idle.size <= openStreamsMax) return;
      this.forget(stream);
    }
  }
}

/** The ack first: `stored` is never above it. */
function takeAcks({ acks, reference }: Stream, taken: (AckMessage | StoredMessage)[]): void {
  const upTo = acks.nextAck();
  if (upTo !== undefined) taken.push({ type: 'ack', upTo, ...reference });
  const storedUpTo = acks.nextStored();
  if (storedUpTo !== undefined) taken.push({ type: 'stored', upTo: storedUpTo, ...reference });
}
