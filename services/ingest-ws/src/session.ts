import type { Duplex } from 'node:stream';
import type { Claims } from '@fleetwire/contracts/access';
import type { WebSocket } from 'ws';
import {
  type AcksMode,
  type DeviceFrame,
  type HelloMessage,
  closeCodes,
  parseDeviceFrame,
  unreadableFrame,
} from '@fleetwire/contracts/device-protocol';
import { limits } from '@fleetwire/contracts/limits';
import type { SessionEndReason } from '@fleetwire/contracts/presence-facts';
import { refused } from '@fleetwire/contracts/validation-issue';
import type { Caller } from './authentication.ts';
import { CommandFrames } from './command-frames.ts';
import { Outbound } from './outbound.ts';
import type { PlainGreeting } from './plain-greeting.ts';
import { PlainSocket } from './plain-socket.ts';
import { Rejections } from './rejections.ts';
import type { SessionContext, SessionParts } from './session-context.ts';
import { SessionStreams, type Stream } from './session-streams.ts';
import type { SubjectShare } from './subject-shares.ts';
import { StoredAnswers } from './stored-answers.ts';
import { SubscriptionFrames } from './subscription-frames.ts';
import { TelemetryFrames } from './telemetry-frames.ts';

export interface SessionIdentity extends Caller {
  readonly id: string;
  readonly epoch: string;
  readonly acks?: AcksMode | undefined;
  /** Of a client that speaks the plain dialect. */
  readonly greeting?: PlainGreeting | undefined;
}

/** Frames that a device sent before it could read the close frame are dropped; beyond this the socket is not read any more. */
const bytesAfterCloseMax = 1024 * 1024;
/** RFC 6455, 7.4.1. */
const noCloseFrame = 1006;

type EndedToken = 'expired' | 'key-removed' | 'session-ended';

/**
 * One socket of a device or gateway: parses its frames, hands each to the handler of its type, and answers through {@link Outbound}.
 * A new type of frame gets a handler in a file of its own and one line in `#dispatch`.
 */
export class Session implements SessionParts {
  readonly id: string;
  readonly ordinal: number;
  caller: Caller;
  readonly epoch: string;
  readonly outbound: Outbound;
  readonly streams: SessionStreams;
  readonly share: SubjectShare;
  readonly stored: StoredAnswers | undefined;
  readonly context: SessionContext;
  readonly #socket: WebSocket;
  readonly #rejections: Rejections;
  readonly #telemetry: TelemetryFrames;
  readonly #subscriptions: SubscriptionFrames;
  #commands: CommandFrames | undefined;
  readonly #plain: PlainSocket | undefined;
  #endedToken: EndedToken | undefined;
  #bytesAfterClose = 0;
  #isAlive = true;

  /** @param raw the stream that `socket` writes its frames to */
  constructor(
    socket: WebSocket,
    raw: Duplex,
    { id, epoch, acks, greeting, ...caller }: SessionIdentity,
    context: SessionContext,
  ) {
    this.id = id;
    this.ordinal = context.holders.nextOrdinal();
    this.caller = caller;
    this.epoch = epoch;
    this.#socket = socket;
    this.outbound = new Outbound(socket, raw, context.metrics, context.limits.outboundBytesMax);
    this.context = context;
    this.share = context.shares.open(caller.claims);
    const { history } = context;
    this.stored = acks === 'stored' && context.awaiting.hasRoom ? new StoredAnswers(this) : undefined;
    this.streams = new SessionStreams({
      own: { deviceId: caller.claims.sub, epoch },
      history,
      share: this.share,
      isStoredAsked: this.stored !== undefined,
    });
    this.#rejections = new Rejections(this);
    this.#telemetry = new TelemetryFrames(this, this.#rejections);
    this.#subscriptions = new SubscriptionFrames(this);
    if (greeting !== undefined)
      this.#plain = new PlainSocket(this, greeting, {
        subscriptions: this.#subscriptions,
        rejections: this.#rejections,
      });
    socket.once('close', () => {
      this.#subscriptions.close();
      this.#plain?.close();
    });
    socket.on('message', (data: Buffer, isBinary) => this.#receive(data, isBinary));
    socket.on('pong', () => {
      this.#isAlive = true;
    });
    // 'close' follows with the code; ws has answered with 1007 or 1009 itself.
    socket.on('error', (error) =>
      context.metrics.closedSockets.inc({ reason: 'code' in error ? String(error.code) : 'socket-error' }),
    );
    if (this.#plain === undefined) this.outbound.send(this.#hello(acks));
    else this.#plain.begin(this.#hello(acks));
  }

  get isPlain(): boolean {
    return this.#plain !== undefined;
  }

  get claims(): Claims {
    return this.caller.claims;
  }

  #hello(asked: AcksMode | undefined): HelloMessage {
    const lastSeq = this.context.history.lastSeqOf(this.claims.sub, this.epoch);
    const { payloadBytesMax, inFlightMax, heartbeatIntervalMs } = this.context.limits;
    const { readingsPerFrameMax, metricsPerReadingMax } = limits;
    return {
      type: 'hello',
      sessionId: this.id,
      deviceId: this.claims.sub,
      epoch: this.epoch,
      serverTime: new Date().toISOString(),
      limits: { payloadBytesMax, readingsPerFrameMax, metricsPerReadingMax, inFlightMax, heartbeatIntervalMs },
      ...(lastSeq === undefined ? {} : { lastSeq }),
      ...(asked === undefined ? {} : { acks: this.stored === undefined ? 'confirmed' : 'stored' }),
    };
  }

  pause(): void {
    // A closing socket reads on, for the peer's close frame.
    if (this.outbound.isOpen) this.#socket.pause();
  }

  resume(): void {
    // Nothing was read while paused, no pong either.
    if (!this.outbound.isOpen) return;
    this.#isAlive = true;
    this.#socket.resume();
  }

  /** Called once per interval: terminates the connection when the peer was silent since the last call; pings. */
  heartbeat(): void {
    if (!this.outbound.isOpen) return;
    // A paused socket reads nothing, so a missing pong does not mean that the peer is gone. The ping still shows the device that the server is there.
    if (!this.#socket.isPaused && !this.#isAlive) return this.outbound.terminate('heartbeat-missed');
    this.#isAlive = false;
    this.#socket.ping();
  }

  /** @param keys thumbprints of the keys that tokens may be signed with now; undefined where no token is checked */
  checkToken(keys: ReadonlySet<string> | undefined, now: number): void {
    if (!this.outbound.isOpen) return;
    const { key, claims } = this.caller;
    if (claims.exp !== undefined && now >= claims.exp * 1_000) this.#endToken('expired', 'the token has expired');
    else if (keys !== undefined && key !== undefined && !keys.has(key))
      this.#endToken('key-removed', 'the key of the token was removed');
  }

  /** The session of a browser that this socket was opened with was ended. */
  endBrowserSession(): void {
    if (this.outbound.isOpen) this.#endToken('session-ended', 'the session has ended');
  }

  #endToken(cause: EndedToken, reason: string): void {
    this.context.metrics.endedTokens.inc({ cause });
    this.#endedToken = cause;
    this.close(closeCodes.unauthorised, reason);
  }

  close(code: number, reason: string): void {
    this.outbound.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** @param code with which the socket closed; 1006 where there was no close frame */
  endReason(code: number): SessionEndReason {
    const { closedWith } = this.outbound;
    if (closedWith === undefined) return code === noCloseFrame ? 'network' : 'closed-by-device';
    if (closedWith === closeCodes.draining) return 'instance-stopped';
    if (closedWith === closeCodes.replaced) return 'replaced';
    if (closedWith === closeCodes.unauthorised) return this.#endedToken === 'expired' ? 'token-expired' : 'revoked';
    return 'closed-by-server';
  }

  /** Resolves when the socket is closed. */
  whenClosed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.readyState === this.#socket.CLOSED) resolve();
      else this.#socket.once('close', () => resolve());
    });
  }

  /** The socket has closed: records how far the streams were settled, for later sessions. */
  ended(): void {
    this.context.holders.ended(this);
    this.context.commands.ended(this);
    this.stored?.end();
    this.streams.remember();
    this.streams.end();
    this.share.close();
  }

  scheduleAck(stream: Stream): void {
    this.streams.noteChanged(stream);
    this.context.ackSchedule.add(this);
  }

  /** Sends the acks that are due; `AckSchedule` calls it. */
  flushAcks(): void {
    for (const ack of this.streams.nextAcks()) {
      if (this.#plain?.isSilentAbout(ack) === true) continue;
      this.outbound.sendAck(ack);
      if (ack.type === 'stored') this.context.metrics.storedNotices.inc({ kind: 'stored' });
    }
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (!this.outbound.isOpen) return this.#drop(data);
    this.#isAlive = true;
    const now = Date.now();
    if (isBinary) {
      const { issue } = refused('binary-frame', '', 'send JSON as a text frame');
      return this.#rejections.rejectFrame(unreadableFrame(issue), now);
    }
    const text = data.toString('utf8');
    const frame = this.#plain === undefined ? parseDeviceFrame(text, now) : this.#plain.parse(text, now);
    if (frame === undefined) return this.#rejections.endMalformedRow();
    if (!frame.ok) return this.#rejections.rejectFrame(frame, now);
    this.#rejections.endMalformedRow();
    this.#dispatch(frame.value, data.length, now);
  }

  #dispatch(frame: DeviceFrame, bytes: number, now: number): void {
    switch (frame.type) {
      case 'telemetry':
        return this.#telemetry.receive(frame, bytes, now);
      case 'ping':
        this.#rejections.countUnproductive(now);
        return this.outbound.send({ type: 'pong', ts: now });
      case 'control':
      case 'control-received':
      case 'control-result':
        return (this.#commands ??= new CommandFrames(this, this.#rejections)).receive(frame, now);
      default:
        this.#rejections.countUnproductive(now);
        return this.#subscriptions.receive(frame);
    }
  }

  #drop(data: Buffer): void {
    this.#bytesAfterClose += data.length;
    if (this.#bytesAfterClose > bytesAfterCloseMax) this.#socket.pause();
  }
}
