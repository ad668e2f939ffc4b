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
  /** Boot identity; a new one by default. Pass `firstSeq` too when you reuse one. */
  readonly epoch?: string;
  readonly firstSeq?: number;
  readonly token?: string;
  /** Names device and epoch in every frame, for a token that may publish for any device. */
  readonly isGateway?: boolean;
  /** Maximum number of unsettled readings, sent or waiting. */
  readonly bufferReadingsMax?: number;
  readonly overflow?: OverflowPolicy;
  readonly readingsPerFrameMax?: number;
  readonly backoff?: Backoff;
  readonly answerTimeoutMs?: number;
  /** For the jitter of reconnect delays. */
  readonly random?: Random;
  /** Shared by a fleet. */
  readonly statistics?: LinkStatistics;
}

/** @property seq by default the next number; must be greater than all numbers before it */
interface NumberedText {
  readonly text: string;
  readonly seq?: number;
}

export interface DeviceClient {
  readonly journal: ClientJournal;
  readonly statistics: LinkStatistics;
  /** Number of readings that are buffered or in flight. */
  readonly unsettled: number;
  /** Number of readings that can be sent now without dropping one. */
  readonly room: number;
  /** Why the server refuses this device, once it has. */
  readonly failure: Error | undefined;
  /** Numbers, buffers and sends readings, in one frame if they fit. @returns the number of the first one */
  send(...observations: readonly Observation[]): number;
  /** The same for readings that are JSON text already, valid or not. @returns the number of the first one */
  sendTexts(readings: readonly NumberedText[]): number;
  /** Sends any text or bytes, without number and journal, if the link is up. */
  sendRaw(text: string | Buffer): boolean;
  /** Resolves when every reading is acked, refused or dropped. @throws LinkRefusedError when the server refuses the device */
  whenSettled(): Promise<void>;
  /** Resolves when `readings` can be sent without dropping one. @throws LinkRefusedError */
  whenRoom(readings: number): Promise<void>;
  /** Waits for unsettled readings, then closes. Readings that are still open after `settleTimeoutMs` are recorded as given up in the journal. */
  stop(options?: { readonly settleTimeoutMs?: number }): Promise<void>;
}

/** A device that follows the device protocol: numbers its readings, buffers them while offline, and keeps each until the server has acknowledged it. */
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
  // Waiting callers have been told of a refusal; here it only ends the wait.
  await Promise.race([stream.whenSettled().catch(() => undefined), deadline]);
  clearTimeout(timer);
}
