import { randomUUID } from 'node:crypto';
import type { Observation } from '@fleetwire/contracts/reading';
import { type Backoff, deviceReconnectBackoff } from '@fleetwire/contracts/backoff';
import { observationText } from './frame.ts';
import { HttpUplink } from './http-uplink.ts';
import type { ClientJournal } from './journal.ts';
import type { OverflowPolicy } from './outbox.ts';
import type { Random } from './random.ts';
import { Stream } from './stream.ts';
import { type LinkStatistics, type Uplink, newLinkStatistics } from './uplink.ts';
import { WebSocketUplink } from './websocket-uplink.ts';

export interface DeviceClientOptions {
  /** `ws://host:port/ws`, or `http://host:port/api/v1/telemetry` for the fallback. */
  readonly url: string;
  readonly deviceId: string;
  /** Boot identity; a new one unless given. With an old one, give `firstSeq` too. */
  readonly epoch?: string;
  readonly firstSeq?: number;
  readonly token?: string;
  /** Names device and epoch in every frame, for a token that may publish for any device. */
  readonly isGateway?: boolean;
  /** Readings kept while they are not settled, sent or not. */
  readonly bufferReadingsMax?: number;
  readonly overflow?: OverflowPolicy;
  readonly readingsPerFrameMax?: number;
  readonly backoff?: Backoff;
  readonly answerTimeoutMs?: number;
  /** Of the reconnect delays. */
  readonly random?: Random;
  /** Shared by a fleet. */
  readonly statistics?: LinkStatistics;
}

/** @property seq the next one unless given, and greater than every one before */
interface NumberedText {
  readonly text: string;
  readonly seq?: number;
}

export interface DeviceClient {
  readonly journal: ClientJournal;
  readonly statistics: LinkStatistics;
  /** Readings that are buffered or in flight. */
  readonly unsettled: number;
  /** Readings that can be sent now without dropping one. */
  readonly room: number;
  /** Why the server will not have this device, once it has said so. */
  readonly failure: Error | undefined;
  /** Numbers, keeps and sends readings, as one frame where they fit. @returns the first one's number */
  send(...observations: readonly Observation[]): number;
  /** The same for readings that are JSON objects already, be they good or not. @returns the first one's number */
  sendTexts(readings: readonly NumberedText[]): number;
  /** Sends anything at all, outside of numbering and journal, if the link is up. */
  sendRaw(text: string | Buffer): boolean;
  /** Resolves when every reading is acked, refused or dropped. @throws LinkRefusedError when the server will not have the device */
  whenSettled(): Promise<void>;
  /** Resolves when `readings` can be sent without dropping one. @throws LinkRefusedError */
  whenRoom(readings: number): Promise<void>;
  /** Waits for what is unsettled, then closes. What is still open after `settleTimeoutMs` is given up, and the journal says so. */
  stop(options?: { readonly settleTimeoutMs?: number }): Promise<void>;
}

/** A device as it should be: buffers while offline, numbers its readings, keeps each until the server has vouched for it. */
export function startDeviceClient(options: DeviceClientOptions): DeviceClient {
  const {
    deviceId,
    epoch = randomUUID(),
    firstSeq = 1,
    bufferReadingsMax = 10_000,
    overflow = 'drop-oldest',
  } = options;
  const statistics = options.statistics ?? newLinkStatistics();
  const stream = new Stream({
    deviceId,
    epoch,
    firstSeq,
    readingsMax: bufferReadingsMax,
    overflow,
    latency: statistics.latency,
  });
  const uplink = startUplink(options, stream, statistics);
  const sendTexts = (readings: readonly NumberedText[]): number => {
    const [first = stream.nextSeq] = readings.map(({ text, seq }) => stream.offer(text, seq));
    uplink.pump();
    return first;
  };

  return {
    journal: stream.journal,
    statistics,
    get unsettled() {
      return stream.unsettled;
    },
    get room() {
      return stream.room;
    },
    get failure() {
      return stream.failure;
    },
    send: (...observations) => sendTexts(observations.map((observation) => ({ text: observationText(observation) }))),
    sendTexts,
    sendRaw: (text) => uplink.sendRaw(text),
    whenSettled: () => stream.whenSettled(),
    whenRoom: (readings) => stream.whenRoom(readings),
    stop: async ({ settleTimeoutMs = 10_000 } = {}) => {
      await settledWithin(stream, settleTimeoutMs);
      await uplink.close();
      stream.abandon();
    },
  };
}

function startUplink(options: DeviceClientOptions, stream: Stream, statistics: LinkStatistics): Uplink {
  const {
    url,
    token,
    isGateway = false,
    readingsPerFrameMax = 500,
    backoff = deviceReconnectBackoff,
    answerTimeoutMs = 20_000,
    random = Math.random,
  } = options;
  const Chosen = url.startsWith('http') ? HttpUplink : WebSocketUplink;
  return new Chosen({
    stream,
    url,
    token,
    isGateway,
    readingsPerFrameMax,
    backoff,
    answerTimeoutMs,
    random,
    statistics,
  });
}

async function settledWithin(stream: Stream, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  // A refusal was told to those who waited; here it only means that waiting is over.
  await Promise.race([stream.whenSettled().catch(() => undefined), deadline]);
  clearTimeout(timer);
}
