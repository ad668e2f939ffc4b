import type { StreamReference } from '@fleetwire/contracts/device-protocol';
import { StreamAcks } from './stream-acks.ts';
import { type StreamHistory, keyOf } from './stream-history.ts';

/** A stream as one socket sees it. */
export interface Stream {
  readonly deviceId: string;
  readonly epoch: string;
  /** How answers name the stream; empty for the session's own. */
  readonly reference: StreamReference;
  readonly acks: StreamAcks;
  /** Unreadable frames of the socket that were looked at for this stream: see `Session.#nackSkipped`. */
  unreadableFramesSeen: number;
}

export interface SessionStreamsOptions {
  /** The session's own stream. */
  readonly own: { readonly deviceId: string; readonly epoch: string };
  readonly streamsMax: number;
  readonly history: StreamHistory;
}

/** The streams of one socket: most devices have their own alone, a gateway may have thousands. */
export class SessionStreams {
  readonly #options: SessionStreamsOptions;
  /** Kept out of the map: memory per socket is multiplied by 10,000 sockets. */
  #own: Stream | undefined;
  #others: Map<string, Stream> | undefined;
  /** Streams without readings in flight or pending resends, the least recently used first. Kept apart, since acks look at all of the others. */
  #idle: Map<string, Stream> | undefined;

  constructor(options: SessionStreamsOptions) {
    this.#options = options;
  }

  /** @returns undefined when `streamsMax` other streams have readings in flight or pending resends. */
  find(deviceId: string, epoch: string): Stream | undefined {
    const { own, streamsMax } = this.#options;
    if (deviceId === own.deviceId && epoch === own.epoch) return (this.#own ??= this.#begin(deviceId, epoch));
    const others = (this.#others ??= new Map());
    const key = keyOf(deviceId, epoch);
    const known = others.get(key);
    if (known !== undefined) return known;
    if (others.size >= streamsMax) this.#setIdleAside();
    if (others.size >= streamsMax) return undefined;
    const stream = this.#idle?.get(key) ?? this.#begin(deviceId, epoch);
    this.#idle?.delete(key);
    others.set(key, stream);
    return stream;
  }

  /** The acks that are due, each once. */
  nextAcks(): (StreamReference & { readonly upTo: number })[] {
    const taken = [];
    for (const { reference, acks } of this.#all()) {
      const upTo = acks.nextAck();
      if (upTo !== undefined) taken.push({ upTo, ...reference });
    }
    if (this.#others !== undefined && this.#others.size > 1) this.#setIdleAside();
    return taken;
  }

  /** Writes to the history how far each stream is settled without a gap. */
  remember(): void {
    for (const { deviceId, epoch, acks } of [...(this.#idle?.values() ?? []), ...this.#all()]) {
      const upTo = acks.gaplessUpTo;
      if (upTo !== undefined) this.#options.history.remember(deviceId, epoch, upTo);
    }
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
      acks: new StreamAcks(lastSeq === undefined ? undefined : lastSeq + 1),
      unreadableFramesSeen: 0,
    };
  }

  /** Beyond `streamsMax` idle streams the least recently used one is forgotten. */
  #setIdleAside(): void {
    const idle = (this.#idle ??= new Map());
    for (const [key, stream] of this.#others ?? []) {
      if (!stream.acks.isIdle) continue;
      this.#others?.delete(key);
      idle.set(key, stream);
    }
    for (const key of idle.keys()) {
      if (idle.size <= this.#options.streamsMax) return;
      idle.delete(key);
    }
  }
}
