import type { StreamReference } from '@fleetwire/contracts/device-protocol';
import { StreamAcks } from './stream-acks.ts';

/** A stream as one socket sees it. */
export type Stream = {
  readonly deviceId: string;
  readonly epoch: string;
  /** How answers name it: not at all where it is the session's own. */
  readonly reference: StreamReference;
  readonly acks: StreamAcks;
};

export type SessionStreamsOptions = {
  /** The session's own stream. */
  readonly own: { readonly deviceId: string; readonly epoch: string };
  readonly streamsMax: number;
  /** The last seq that an earlier session of this stream settled, where that is known. */
  readonly lastSeqOf: (deviceId: string, epoch: string) => number | undefined;
};

/** The streams of one socket: a device has one or two, a gateway may have thousands. */
export class SessionStreams {
  readonly #options: SessionStreamsOptions;
  readonly #streams = new Map<string, Stream>();

  constructor(options: SessionStreamsOptions) {
    this.#options = options;
  }

  /** Undefined when too many streams wait for acks already. */
  find(deviceId: string, epoch: string): Stream | undefined {
    const key = `${deviceId}\n${epoch}`;
    const known = this.#streams.get(key);
    if (known !== undefined) return known;
    const { own, streamsMax, lastSeqOf } = this.#options;
    if (this.#streams.size >= streamsMax) this.#forgetIdle();
    if (this.#streams.size >= streamsMax) return undefined;
    const lastSeq = lastSeqOf(deviceId, epoch);
    const stream = {
      deviceId,
      epoch,
      reference: { ...(deviceId === own.deviceId ? {} : { deviceId }), ...(epoch === own.epoch ? {} : { epoch }) },
      acks: new StreamAcks(lastSeq === undefined ? undefined : lastSeq + 1),
    };
    this.#streams.set(key, stream);
    return stream;
  }

  /** Everything there is to acknowledge, once. */
  takeAcks(): (StreamReference & { readonly upTo: number })[] {
    const taken = [];
    for (const { reference, acks } of this.#streams.values()) {
      const upTo = acks.takeAck();
      if (upTo !== undefined) taken.push({ upTo, ...reference });
    }
    if (this.#streams.size > 1) this.#forgetIdle();
    return taken;
  }

  /** How far each stream is settled without a gap; what later sessions may be told. */
  *settled(): Iterable<{ deviceId: string; epoch: string; upTo: number }> {
    for (const { deviceId, epoch, acks } of this.#streams.values()) {
      const upTo = acks.gaplessUpTo;
      if (upTo !== undefined) yield { deviceId, epoch, upTo };
    }
  }

  /** A stream without open readings holds nothing that a later frame would need. */
  #forgetIdle(): void {
    for (const [key, { acks }] of this.#streams) if (acks.isIdle) this.#streams.delete(key);
  }
}
