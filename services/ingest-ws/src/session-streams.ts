import type { StreamReference } from '@fleetwire/contracts/device-protocol';
import { StreamAcks } from './stream-acks.ts';

/** A stream as one socket sees it. */
export interface Stream {
  readonly deviceId: string;
  readonly epoch: string;
  /** How answers name it: not at all where it is the session's own. */
  readonly reference: StreamReference;
  readonly acks: StreamAcks;
}

export interface SessionStreamsOptions {
  /** The session's own stream. */
  readonly own: { readonly deviceId: string; readonly epoch: string };
  readonly streamsMax: number;
  /** The last seq that an earlier session of this stream settled, where that is known. */
  readonly lastSeqOf: (deviceId: string, epoch: string) => number | undefined;
}

/** The streams of one socket: most devices have their own alone, a gateway may have thousands. */
export class SessionStreams {
  readonly #options: SessionStreamsOptions;
  /** Not in a map: what each socket holds counts ten thousand times. */
  #own: Stream | undefined;
  #others: Map<string, Stream> | undefined;

  constructor(options: SessionStreamsOptions) {
    this.#options = options;
  }

  /** Undefined when too many streams wait for acks already. */
  find(deviceId: string, epoch: string): Stream | undefined {
    const { own, streamsMax } = this.#options;
    if (deviceId === own.deviceId && epoch === own.epoch) return (this.#own ??= this.#begin(deviceId, epoch));
    const others = (this.#others ??= new Map());
    const key = `${deviceId}\n${epoch}`;
    const known = others.get(key);
    if (known !== undefined) return known;
    if (others.size >= streamsMax) this.#forgetIdle();
    if (others.size >= streamsMax) return undefined;
    const stream = this.#begin(deviceId, epoch);
    others.set(key, stream);
    return stream;
  }

  /** Everything there is to acknowledge, once. */
  takeAcks(): (StreamReference & { readonly upTo: number })[] {
    const taken = [];
    for (const { reference, acks } of this.#all()) {
      const upTo = acks.takeAck();
      if (upTo !== undefined) taken.push({ upTo, ...reference });
    }
    if (this.#others !== undefined && this.#others.size > 1) this.#forgetIdle();
    return taken;
  }

  /** How far each stream is settled without a gap; what later sessions may be told. */
  *settled(): Iterable<{ deviceId: string; epoch: string; upTo: number }> {
    for (const { deviceId, epoch, acks } of this.#all()) {
      const upTo = acks.gaplessUpTo;
      if (upTo !== undefined) yield { deviceId, epoch, upTo };
    }
  }

  *#all(): Iterable<Stream> {
    if (this.#own !== undefined) yield this.#own;
    if (this.#others !== undefined) yield* this.#others.values();
  }

  #begin(deviceId: string, epoch: string): Stream {
    const { own, lastSeqOf } = this.#options;
    const lastSeq = lastSeqOf(deviceId, epoch);
    return {
      deviceId,
      epoch,
      reference: { ...(deviceId === own.deviceId ? {} : { deviceId }), ...(epoch === own.epoch ? {} : { epoch }) },
      acks: new StreamAcks(lastSeq === undefined ? undefined : lastSeq + 1),
    };
  }

  /** Of the others: a stream without open readings holds nothing that a later frame would need. */
  #forgetIdle(): void {
    for (const [key, { acks }] of this.#others ?? []) if (acks.isIdle) this.#others?.delete(key);
  }
}
