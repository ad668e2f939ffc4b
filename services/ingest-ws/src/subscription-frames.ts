import type { DeviceFrame } from '@fleetwire/contracts/device-protocol';
import { type SubscriptionFrameType, parseAuthenticate } from '@fleetwire/contracts/subscription';
import type { Broadcast } from '@fleetwire/live/broadcast';
import type { LiveHub } from '@fleetwire/live/live-hub';
import { membersOf } from '@fleetwire/live/outlet';
import { Watcher } from '@fleetwire/live/watcher';
import type { Caller, CheckToken } from './authentication.ts';
import type { SessionParts } from './session-context.ts';

/** What all sockets need to watch. */
export interface LiveContext {
  readonly hub: LiveHub;
  readonly checkToken: CheckToken;
  readonly watcherBytesMax: number;
}

type SubscriptionFrame = Extract<DeviceFrame, { type: SubscriptionFrameType }>;

/** Handles the frames by which one socket watches. A socket that watches nothing costs nothing here. */
export class SubscriptionFrames {
  readonly #session: SessionParts & { caller: Caller };
  #watcher: Watcher | undefined;

  constructor(session: SessionParts & { caller: Caller }) {
    this.#session = session;
  }

  receive({ type, frame }: SubscriptionFrame): void {
    if (type === 'authenticate') return void this.#authenticate(frame);
    if (type === 'subscribe') void this.#openWatcher().subscribe(frame);
    else this.#openWatcher().unsubscribe(frame);
  }

  /** Sends what is broadcast, in the plain dialect. */
  adopt(broadcast: Broadcast): void {
    this.#openWatcher().adopt(broadcast);
  }

  close(): void {
    this.#watcher?.close();
  }

  #openWatcher(): Watcher {
    const { outbound, caller, context } = this.#session;
    if (this.#watcher !== undefined) return this.#watcher;
    const { hub, watcherBytesMax } = context.live;
    outbound.allowLive(watcherBytesMax);
    return (this.#watcher = new Watcher(hub, caller, {
      write: (output) => outbound.writeLive(output),
      get queuedBytes() {
        return outbound.queuedBytes;
      },
      close: (code, reason) => outbound.close(code, reason),
    }));
  }

  /** The token of the socket is replaced before it expires, by one of the same subject and role. */
  async #authenticate(frame: unknown): Promise<void> {
    const session = this.#session;
    const parsed = parseAuthenticate(frame);
    if (!parsed.ok) return this.#refuse(parsed.issue.code, parsed.issue.message);
    const checked = await session.context.live.checkToken(parsed.value.token);
    if (typeof checked === 'string') return this.#refuse('forbidden', checked);
    const { sub, role, exp } = checked.claims;
    if (sub !== session.claims.sub || role !== session.claims.role)
      return this.#refuse(
        'forbidden',
        `the token is of ${role} "${sub}"; this socket is of ${session.claims.role} "${session.claims.sub}"`,
      );
    session.caller = checked;
    if (this.#watcher !== undefined) this.#watcher.subscriber = checked;
    const expiresAt = exp === undefined ? null : new Date(exp * 1_000).toISOString();
    session.outbound.writeLive({ type: 'authenticated', id: undefined, members: membersOf({ expiresAt }) });
  }

  #refuse(code: string, message: string): void {
    const members = membersOf({ code, message, retryable: false });
    this.#session.outbound.writeLive({ type: 'error', id: undefined, members });
  }
}
