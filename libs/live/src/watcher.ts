import type { Claims } from '@fleetwire/contracts/access';
import { closeCodes } from '@fleetwire/contracts/device-protocol';
import type { SubscribeRequest } from '@fleetwire/contracts/subscription';
import type { Broadcast } from './broadcast.ts';
import { CompleteSubscription } from './complete-subscription.ts';
import { DeviceEvents, type DeviceEventsOptions } from './device-events.ts';
import type { TokenOf } from './device-selections.ts';
import { LatestSubscription } from './latest-subscription.ts';
import type { LiveFilter } from './live-filter.ts';
import type { LiveHub } from './live-hub.ts';
import type { Notice } from './notices.ts';
import { type Outlet, membersOf } from './outlet.ts';
import type { SelectedDevices } from './selected-devices.ts';
import {
  Refusal,
  type RequestedSubscription,
  idOf,
  refusalOf,
  subscriptionOf,
  timeOf,
} from './subscription-request.ts';

export interface Subscriber {
  readonly claims: Claims;
  /** For the history; undefined in open mode. */
  readonly token: string | undefined;
}

interface OpenSubscription {
  readonly mode: 'complete' | 'latest';
  readonly token: TokenOf;
  /** Undefined where only other events are watched, and until it is known which devices the filter selects. */
  readings?: CompleteSubscription | LatestSubscription | undefined;
  selected?: SelectedDevices;
  events?: DeviceEvents;
}

/** No subscription of a client: those have at least one character. */
const broadcastId = '';

/** The subscriptions of one socket, or one stream of events, and the bounds of what is queued for it. */
export class Watcher {
  readonly #hub: LiveHub;
  readonly #outlet: Outlet;
  readonly #subscriptions = new Map<string, OpenSubscription>();
  #subscriber: Subscriber;
  #slowSince: number | undefined;
  #roomListeners = new Set<() => void>();
  /** Since when history waits, and none of it could be written. */
  #waitingSince = 0;
  /** Of answers and notices since more live data was queued than is allowed. */
  #noticeBytes = 0;

  constructor(hub: LiveHub, subscriber: Subscriber, outlet: Outlet) {
    this.#hub = hub;
    this.#subscriber = subscriber;
    this.#outlet = outlet;
    hub.startTicking(this);
  }

  /** Replaces the token before it expires; the caller has checked that it is the same subscriber. */
  set subscriber(subscriber: Subscriber) {
    this.#subscriber = subscriber;
  }

  /** @returns when it is answered later */
  subscribe(frame: unknown): Promise<void> | undefined {
    try {
      return this.#subscribe(frame)?.catch((error: unknown) => this.#answer(frame, error));
    } catch (error) {
      this.#answer(frame, error);
      return undefined;
    }
  }

  /** Sends it from now on. It counts as a subscription, which the subscriber cannot end. */
  adopt(broadcast: Broadcast): void {
    const { metrics, limits: bounds } = this.#hub.options;
    if (!this.#hub.admit(this.#caller)) {
      broadcast.cancel();
      const text = `this caller has ${bounds.subscriptionsPerCallerMax} subscriptions (SUBSCRIPTIONS_PER_CALLER_MAX): nothing is broadcast to this socket; close another one and connect again`;
      return this.#refuse(undefined, new Refusal('too-many-subscriptions', text));
    }
    const { subscription: readings } = broadcast;
    this.#subscriptions.set(broadcastId, { mode: 'latest', token: () => this.#subscriber.token, readings });
    metrics.subscriptions.inc({ mode: 'latest' });
    broadcast.begin(
      (members) => this.#writeReadings(undefined, members, undefined),
      () => this.#closeSlow(`more than ${bounds.watcherEntriesMax} values were not read (WATCHER_ENTRIES_MAX)`),
    );
  }

  unsubscribe(frame: unknown): void {
    try {
      const id = idOf(frame);
      if (!this.#subscriptions.has(id)) throw new Refusal('no-such-subscription', `there is no subscription "${id}"`);
      this.#end(id, 'requested');
    } catch (error) {
      this.#answer(frame, error);
    }
  }

  tick(now: number): void {
    const { watcherBytesMax, watcherSlowMsMax } = this.#hub.options.limits;
    const { queuedBytes } = this.#outlet;
    const [waiting] = this.#roomListeners;
    if (waiting !== undefined) {
      // One at a time: each writes a part of its history.
      if (queuedBytes < watcherBytesMax / 4) {
        this.#waitingSince = now;
        waiting();
      } else if (now - this.#waitingSince > watcherSlowMsMax)
        return this.#closeSlow(`history could not be written for ${watcherSlowMsMax} ms (WATCHER_SLOW_MS_MAX)`);
    }
    for (const { readings } of this.#subscriptions.values()) readings?.tick(now);
    if (this.#slowSince === undefined) return;
    if (queuedBytes < watcherBytesMax / 2) {
      this.#slowSince = undefined;
      for (const { readings } of this.#subscriptions.values()) readings?.resume(now);
    } else if (now - this.#slowSince > watcherSlowMsMax)
      this.#closeSlow(`more than ${watcherBytesMax} bytes were queued for ${watcherSlowMsMax} ms`);
  }

  close(): void {
    this.#hub.stopTicking(this);
    for (const id of this.#subscriptions.keys()) this.#forget(id);
  }

  #subscribe(frame: unknown): Promise<void> | undefined {
    const subscription = subscriptionOf(frame, this.#subscriber.claims);
    const { request, filter, mode, events } = subscription;
    const { id } = request;
    const { limits: bounds, metrics } = this.#hub.options;
    if (this.#subscriptions.has(id))
      throw new Refusal('duplicate-subscription', `there is a subscription "${id}" already`);
    if (this.#subscriptions.size >= bounds.subscriptionsPerSocketMax)
      throw new Refusal(
        'too-many-subscriptions',
        `this socket has ${bounds.subscriptionsPerSocketMax} subscriptions (SUBSCRIPTIONS_PER_SOCKET_MAX); unsubscribe one first`,
      );
    const readings = events.includes('readings')
      ? mode === 'latest'
        ? this.#latest(request, filter)
        : this.#complete(request, filter)
      : undefined;
    if (!this.#hub.admit(this.#caller))
      throw new Refusal(
        'too-many-subscriptions',
        `this caller has ${bounds.subscriptionsPerCallerMax} subscriptions (SUBSCRIPTIONS_PER_CALLER_MAX); unsubscribe one first`,
      );
    const open: OpenSubscription = { mode, token: () => this.#subscriber.token };
    this.#subscriptions.set(id, open);
    metrics.subscriptions.inc({ mode });
    const begin = (): void => this.#begin(subscription, open, readings);
    if (filter.isByRegistry) return this.#select(subscription, open, begin);
    begin();
    return undefined;
  }

  /** A filter by tag or device type begins once it is known which devices it selects. */
  async #select({ request, filter }: RequestedSubscription, open: OpenSubscription, begin: () => void): Promise<void> {
    try {
      open.selected = await this.#hub.select(filter, open.token);
    } catch (error) {
      if (this.#subscriptions.get(request.id) !== open) return;
      this.#forget(request.id);
      throw refusalOf(error as Error);
    }
    if (this.#subscriptions.get(request.id) === open) begin();
    else this.#hub.unselect(open.selected, open.token);
  }

  #begin(
    { request, filter, mode, events }: RequestedSubscription,
    open: OpenSubscription,
    readings: CompleteSubscription | LatestSubscription | undefined,
  ): void {
    const { id, cursor, since } = request;
    const { selected } = open;
    open.readings = readings;
    const revision = readings === undefined ? 0 : this.#hub.add(readings, selected);
    this.#write('subscribed', id, {
      mode,
      devices: selected?.size ?? (filter.patterns === undefined ? (filter.devices?.length ?? null) : null),
      resumed: cursor !== undefined,
      history: since === undefined && cursor === undefined ? 'none' : 'coming',
    });
    if (readings instanceof LatestSubscription) readings.revision = revision;
    else readings?.begin(revision, Date.now());
    const others = events.filter((event) => event !== 'readings');
    if (others.length > 0) this.#hub.addEvents((open.events = this.#deviceEvents(id, filter, selected, others)));
  }

  #deviceEvents(
    id: string,
    filter: LiveFilter,
    selected: SelectedDevices | undefined,
    events: DeviceEventsOptions['events'],
  ): DeviceEvents {
    const { devices: client, limits: bounds } = this.#hub.options;
    return new DeviceEvents({
      filter,
      selected,
      events,
      client,
      token: () => this.#subscriber.token,
      presentMax: bounds.filterDevicesMax,
      entriesMax: bounds.watcherEntriesMax,
      write: (type, members) => this.#writeText(type, id, members),
      onTooManyEntries: () =>
        this.#closeSlow(
          `more than ${bounds.watcherEntriesMax} changes of one subscription were not read (WATCHER_ENTRIES_MAX)`,
        ),
      whenRoom: (signal) => this.#whenRoom(signal),
    });
  }

  #latest(request: SubscribeRequest, filter: LiveFilter): LatestSubscription {
    const { metrics, limits: bounds } = this.#hub.options;
    return new LatestSubscription({
      filter,
      maxRateHz: request.maxRateHz,
      entriesMax: bounds.watcherEntriesMax,
      metrics,
      onReadings: (readings, conflated) => {
        const tail = conflated > 0 ? `,"conflated":${conflated}` : '';
        this.#writeReadings(request.id, `"phase":"live","readings":${readings}${tail}`, undefined);
      },
      onTooManyEntries: () =>
        this.#closeSlow(
          `more than ${bounds.watcherEntriesMax} values of one subscription were not read (WATCHER_ENTRIES_MAX)`,
        ),
    });
  }

  #complete(request: SubscribeRequest, filter: LiveFilter): CompleteSubscription {
    const { id, cursor } = request;
    const resume = cursor === undefined ? undefined : this.#hub.options.cursors.read(cursor, filter.key);
    if (resume === 'cursor-invalid')
      throw new Refusal(resume, 'the cursor is not one of this server; subscribe without it');
    if (resume === 'cursor-foreign')
      throw new Refusal(
        resume,
        'the cursor belongs to another filter; send the filter that it came with, or no cursor',
      );
    return new CompleteSubscription({
      hub: this.#hub.options,
      filter,
      since: request.since === undefined ? undefined : timeOf(request.since),
      resume,
      token: () => this.#subscriber.token,
      onReadings: (phase, readings, newCursor, mayRepeat) =>
        this.#writeReadings(
          id,
          `"phase":"${phase}","readings":${readings}${mayRepeat ? ',"mayRepeat":true' : ''}`,
          newCursor,
        ),
      onNotice: (notice, newCursor) => this.#write(notice.type, id, noticeMembers(notice), newCursor),
      onFailure: (code, message) => {
        this.#refuse(id, new Refusal(code, message));
        this.#end(id, 'failed');
      },
      whenRoom: (signal) => this.#whenRoom(signal),
    });
  }

  get #caller(): string | undefined {
    const { token, claims } = this.#subscriber;
    const { sub, role } = claims;
    // In open mode, which has no token, all callers have one name.
    return token === undefined ? undefined : `${role} ${sub}`;
  }

  #writeReadings(id: string | undefined, members: string, cursor: string | undefined): void {
    this.#outlet.write({ type: 'data_update', id, members, cursor });
    if (this.#slowSince !== undefined || this.#outlet.queuedBytes <= this.#hub.options.limits.watcherBytesMax) return;
    this.#slowSince = Date.now();
    for (const { readings } of this.#subscriptions.values()) readings?.pause();
  }

  #write(type: string, id: string | undefined, members: object, cursor?: string): void {
    this.#writeText(type, id, membersOf(members), cursor);
  }

  #writeText(type: string, id: string | undefined, text: string, cursor?: string): void {
    this.#outlet.write({ type, id, members: text, cursor });
    const { watcherBytesMax } = this.#hub.options.limits;
    if (this.#outlet.queuedBytes <= watcherBytesMax) this.#noticeBytes = 0;
    else if ((this.#noticeBytes += text.length) > watcherBytesMax)
      this.#closeSlow(`more than ${watcherBytesMax} bytes of answers and notices were not read (WATCHER_BYTES_MAX)`);
  }

  #answer(frame: unknown, error: unknown): void {
    if (!(error instanceof Refusal)) throw error;
    const { id } = frame as { id?: unknown };
    this.#refuse(typeof id === 'string' ? id.slice(0, 64) : undefined, error);
  }

  #refuse(id: string | undefined, { code, message, isRetryable }: Refusal): void {
    this.#write('error', id, { code, message, retryable: isRetryable });
  }

  #end(id: string, reason: 'requested' | 'failed'): void {
    this.#forget(id);
    this.#write('unsubscribed', id, { reason });
  }

  #forget(id: string): void {
    const open = this.#subscriptions.get(id);
    if (open === undefined) return;
    const { mode, readings, selected, events, token } = open;
    this.#subscriptions.delete(id);
    this.#hub.release(this.#caller);
    this.#hub.options.metrics.subscriptions.dec({ mode });
    if (events !== undefined) this.#hub.removeEvents(events);
    if (readings !== undefined) {
      this.#hub.remove(readings);
      readings.close();
    }
    if (selected !== undefined) this.#hub.unselect(selected, token);
  }

  #closeSlow(reason: string): void {
    this.#hub.options.metrics.slowWatchers.inc();
    this.close();
    this.#outlet.close(closeCodes.overloaded, reason);
  }

  #whenRoom(signal: AbortSignal): Promise<void> | undefined {
    const hasRoom = this.#outlet.queuedBytes < this.#hub.options.limits.watcherBytesMax / 4;
    if (hasRoom || signal.aborted) return undefined;
    if (this.#roomListeners.size === 0) this.#waitingSince = Date.now();
    return new Promise<void>((resolve) => {
      const settle = (): void => {
        this.#roomListeners.delete(settle);
        signal.removeEventListener('abort', settle);
        resolve();
      };
      this.#roomListeners.add(settle);
      signal.addEventListener('abort', settle);
    });
  }
}

function noticeMembers(notice: Notice): object {
  switch (notice.type) {
    case 'pending': {
      const { pendingId, reason, acceptedBefore, envelopes } = notice;
      return { pendingId, reason, acceptedBefore: isoOf(acceptedBefore), envelopes, devices: null };
    }
    case 'gap': {
      const { gapId, reason, from, to, envelopes, earliest } = notice;
      const refill =
        earliest === undefined ? { refill: 'coming' } : { refill: 'impossible', earliest: isoOf(earliest) };
      return { gapId, reason, from: isoOf(from), to: isoOf(to), devices: null, envelopes, ...refill };
    }
    case 'gap_filled':
      return { gapId: notice.gapId, readings: notice.readings };
    case 'caught_up':
      return { ...(notice.pendingId === undefined ? {} : { pendingId: notice.pendingId }), readings: notice.readings };
  }
}

function isoOf(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
