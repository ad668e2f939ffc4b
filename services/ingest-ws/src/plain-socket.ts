import { setTimeout as sleep } from 'node:timers/promises';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { DeviceFrame, HelloMessage, RejectedFrame, StreamReference } from '@fleetwire/contracts/device-protocol';
import { parsePlainFrame, plainEchoesPerSecondMax, plainTime } from '@fleetwire/contracts/plain-dialect';
import { refused } from '@fleetwire/contracts/validation-issue';
import type { Caller } from './authentication.ts';
import { isAutoEpoch } from './auto-sequence.ts';
import { errorOf } from './outbound.ts';
import type { PlainGreeting } from './plain-greeting.ts';
import type { Rejections } from './rejections.ts';
import type { SessionParts } from './session-context.ts';
import type { SubscriptionFrames } from './subscription-frames.ts';

const snapshotBackoff: Backoff = { baseMs: 1_000, capMs: 30_000 };
const echoWindowMs = 1_000;

/** What a socket of the plain dialect does beside one of the full dialect: its greeting, the broadcast, and echoes. */
export class PlainSocket {
  readonly #session: SessionParts & { readonly caller: Caller };
  readonly #greeting: PlainGreeting;
  readonly #subscriptions: SubscriptionFrames;
  readonly #rejections: Rejections;
  readonly #closing = new AbortController();
  #echoWindowEnd = 0;
  #echoes = 0;

  constructor(
    session: SessionParts & { readonly caller: Caller },
    greeting: PlainGreeting,
    { subscriptions, rejections }: { subscriptions: SubscriptionFrames; rejections: Rejections },
  ) {
    this.#session = session;
    this.#greeting = greeting;
    this.#subscriptions = subscriptions;
    this.#rejections = rejections;
  }

  begin(hello: HelloMessage): void {
    const { outbound, context } = this.#session;
    outbound.allowLive(context.live.watcherBytesMax);
    this.#greet(hello);
    this.#subscriptions.adopt(this.#greeting.broadcast);
    context.plain.controls.add(this.#session);
    if (this.#greeting.isPending && context.plain.snapshots.isConfigured) void this.#awaitSnapshot(hello);
  }

  /** @returns undefined for a frame that was answered here */
  parse(text: string, now: number): { readonly ok: true; readonly value: DeviceFrame } | RejectedFrame | undefined {
    const parsed = parsePlainFrame(text, now, this.#session.claims.role === 'device');
    if (!parsed.ok) return parsed;
    const { value } = parsed;
    if (value.type === 'unknown') return this.#echo(value.frame, now);
    if (value.type !== 'ping') return { ok: true, value };
    this.#rejections.countUnproductive(now);
    this.#session.outbound.send({ type: 'pong', timestamp_utc: plainTime(now), ts: now });
    return undefined;
  }

  /** Readings without a seq are answered by their broadcast, or an error. */
  isSilentAbout({ epoch }: StreamReference): boolean {
    return epoch !== undefined && isAutoEpoch(epoch);
  }

  close(): void {
    this.#closing.abort();
    this.#session.context.plain.controls.remove(this.#session);
  }

  #greet({ type, sessionId, deviceId, epoch, limits, ...others }: HelloMessage): void {
    const own = { sessionId, deviceId, epoch, limits, ...others };
    this.#session.outbound.send({ type, ...this.#greeting.members(), ...own });
  }

  #echo(frame: object, now: number): undefined {
    const { outbound, context } = this.#session;
    this.#rejections.countUnproductive(now);
    if (now >= this.#echoWindowEnd) {
      this.#echoWindowEnd = now + echoWindowMs;
      this.#echoes = 0;
    }
    this.#echoes += 1;
    if (this.#echoes <= plainEchoesPerSecondMax)
      return outbound.send({
        type: 'echo',
        timestamp_utc: plainTime(now),
        received: frame,
        note: 'Unrecognized message type',
      }) as undefined;
    context.metrics.limitsReached.inc({ limit: 'plainEchoesPerSecondMax' });
    const text = `more than ${plainEchoesPerSecondMax} messages of unknown types in a second (plainEchoesPerSecondMax); this one is not echoed`;
    return outbound.send(errorOf(refused('limit-exceeded', '', text).issue)) as undefined;
  }

  /** Another `hello`, since clients of the dialect read a snapshot from no other message. */
  async #awaitSnapshot(hello: HelloMessage): Promise<void> {
    const { signal } = this.#closing;
    for (let attempts = 1; !signal.aborted; attempts += 1) {
      if (await this.#greeting.readAgain(this.#session.caller.token)) return this.#greet(hello);
      await sleep(backoffMs(snapshotBackoff, attempts), undefined, { signal, ref: false }).catch(() => {});
    }
  }
}
