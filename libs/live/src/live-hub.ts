import { randomUUID } from 'node:crypto';
import { commandChangedType } from '@fleetwire/contracts/command-event';
import { type InterestQuestion, type LiveMessage, type LiveRun, liveTypes } from '@fleetwire/contracts/live-message';
import { presenceChangedType } from '@fleetwire/contracts/presence-event';
import type { DeviceClient } from './device-client.ts';
import type { DeviceEvents } from './device-events.ts';
import { DeviceSelections, type TokenOf } from './device-selections.ts';
import { type HistoryClient, HistoryRefusal } from './history-client.ts';
import type { LiveBroker, LiveEvent } from './live-broker.ts';
import type { LiveCursors } from './live-cursor.ts';
import type { LiveFilter } from './live-filter.ts';
import type { LiveMetrics } from './live-metrics.ts';
import type { SelectedDevices, SelectionChange } from './selected-devices.ts';
import { Selection } from './selection.ts';
import { WatchedInterest, count } from './watched-interest.ts';

interface LiveLimits {
  readonly filterDevicesMax: number;
  readonly subscriptionsPerSocketMax: number;
  readonly subscriptionsPerCallerMax: number;
  readonly watcherBytesMax: number;
  readonly watcherEntriesMax: number;
  readonly watcherSlowMsMax: number;
  readonly liveBufferReadingsMax: number;
  readonly interestRefreshMs: number;
  readonly interestTtlMs: number;
}

/** What a subscription hears of one message of an edge. */
export interface HeardMessage {
  readonly edge: string;
  readonly number: number;
  readonly prev: number;
  readonly revision: number;
  /** Undefined in a position. */
  readonly selection: Selection | undefined;
}

export interface HubSubscription {
  readonly filter: LiveFilter;
  /** Hears every message, also those without a reading for it. */
  readonly hearsAll: boolean;
  hear(message: HeardMessage, now: number): void;
  noteReconnected(): void;
}

export interface HubOptions {
  readonly broker: LiveBroker;
  readonly metrics: LiveMetrics;
  readonly limits: LiveLimits;
  readonly cursors: LiveCursors;
  /** Undefined where no query-api is configured: subscriptions are live only. */
  readonly history: HistoryClient | undefined;
  /** Undefined with `history`. */
  readonly devices: DeviceClient | undefined;
  readonly logger: { warn(fields: object, message: string): void };
}

const tickMs = 50;
/** Until the queue for changes is there; without the broker nothing can be watched. */
const hearingTimeoutMs = 10_000;
/** Devices times groups that select them, kept so that patterns are not matched again for each reading. */
const cachedMatchesMax = 1_000_000;
const empty = new Selection([]);

/** Subscriptions with equal filters. */
interface Group {
  readonly filter: LiveFilter;
  readonly selected: SelectedDevices | undefined;
  readonly members: Set<HubSubscription>;
}

/** The watching side of one instance: unites what its subscribers watch, tells the edges, and gives each subscription what it selects. */
export class LiveHub {
  readonly options: HubOptions;
  readonly instanceId = randomUUID();
  readonly #groups = new Map<string, Group>();
  /** By device, the groups that select it. */
  readonly #matches = new Map<string, readonly Group[]>();
  #matchCount = 0;
  readonly #interest = new WatchedInterest();
  readonly #ticking = new Set<{ tick(now: number): void }>();
  readonly #callers = new Map<string, number>();
  readonly #timers: NodeJS.Timeout[];
  readonly #selections: DeviceSelections | undefined;
  readonly #deviceEvents = new Set<DeviceEvents>();
  #hearing: Promise<void> | undefined;
  #collecting: NodeJS.Timeout | undefined;
  #isBoundOnce = false;

  constructor(options: HubOptions) {
    this.options = options;
    const { broker, limits, devices, logger } = options;
    if (devices !== undefined)
      this.#selections = new DeviceSelections({
        client: devices,
        devicesMax: limits.filterDevicesMax,
        logger,
        onChange: (selected, change) => this.#applySelection(selected, change),
      });
    broker.receiveLive(
      this.instanceId,
      (message) => this.#receive(message),
      () => this.#bound(),
    );
    this.#timers = [
      setInterval(() => this.#announce(), limits.interestRefreshMs),
      setInterval(() => this.#tick(), tickMs),
    ];
  }

  /** @returns the revision of the interest from which on edges know the filter */
  add(subscription: HubSubscription, selected?: SelectedDevices): number {
    const { filter } = subscription;
    const group = this.#groups.get(filter.key);
    if (group !== undefined) group.members.add(subscription);
    else {
      this.#groups.set(filter.key, { filter, selected, members: new Set([subscription]) });
      this.#forgetMatches();
      if (this.#interest.add(filter.interest(selected?.ids))) this.#announceSoon();
    }
    return this.#interest.revision;
  }

  remove(subscription: HubSubscription): void {
    const { filter } = subscription;
    const group = this.#groups.get(filter.key);
    if (group?.members.delete(subscription) !== true || group.members.size > 0) return;
    this.#groups.delete(filter.key);
    this.#forgetMatches();
    this.#interest.remove(filter.interest(group.selected?.ids));
  }

  /**
   * The devices of a filter by tag or device type, kept up with the registry until {@link release}.
   * @throws {TooManyDevices}, HistoryRefusal, or any other error for a failure that may pass
   */
  async select(filter: LiveFilter, user: TokenOf): Promise<SelectedDevices> {
    if (this.#selections === undefined) throw new HistoryRefusal('this instance has no QUERY_API_URL');
    await this.#hearEvents();
    return this.#selections.open(filter, user);
  }

  unselect(selected: SelectedDevices, user: TokenOf): void {
    this.#selections?.close(selected, user);
  }

  /** Tells it the present state, and changes from now on. */
  addEvents(events: DeviceEvents): void {
    this.#deviceEvents.add(events);
    void this.#hearEvents().then(
      () => events.present(),
      () => {},
    );
  }

  removeEvents(events: DeviceEvents): void {
    this.#deviceEvents.delete(events);
    events.close();
  }

  /** Called about every 50 ms. */
  startTicking(watcher: { tick(now: number): void }): void {
    this.#ticking.add(watcher);
  }

  stopTicking(watcher: { tick(now: number): void }): void {
    this.#ticking.delete(watcher);
  }

  /** @returns false when the caller has its number of subscriptions */
  admit(caller: string | undefined): boolean {
    if (caller === undefined) return true;
    if ((this.#callers.get(caller) ?? 0) >= this.options.limits.subscriptionsPerCallerMax) return false;
    count(this.#callers, caller, 1);
    return true;
  }

  release(caller: string | undefined): void {
    if (caller !== undefined) count(this.#callers, caller, -1);
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#collecting);
    this.#selections?.stop();
    this.#interest.clear();
    // Edges stop publishing for this instance now, not when its interest expires.
    this.#announce();
  }

  #announceSoon(): void {
    this.#collecting ??= setTimeout(() => this.#announce(), this.#interest.waitMs(performance.now()));
  }

  #announce(options: { readonly isNewRevision?: boolean } = {}): void {
    clearTimeout(this.#collecting);
    this.#collecting = undefined;
    const interest = this.#interest.announce(performance.now(), options);
    if (interest === undefined) return;
    const { broker, limits } = this.options;
    broker.announce({
      type: liveTypes.interest,
      instanceId: this.instanceId,
      ttlMs: limits.interestTtlMs,
      ...interest,
    });
  }

  /** After a loss the edges answer a new revision with their positions, which show what was lost. */
  #bound(): void {
    if (this.#isBoundOnce)
      for (const { members } of this.#groups.values()) for (const one of members) one.noteReconnected();
    this.#isBoundOnce = true;
    this.#announce({ isNewRevision: true });
  }

  #receive(message: LiveMessage | InterestQuestion): void {
    if (message.type === liveTypes.question) return this.#announceSoon();
    const { edge, number, to, runs = [], type } = message;
    const told = to[this.instanceId];
    if (told === undefined) return;
    const now = Date.now();
    const selected = new Map<Group, LiveRun[]>();
    for (const run of runs) {
      for (const group of this.#groupsOf(run.deviceId)) {
        const known = selected.get(group);
        if (known === undefined) selected.set(group, [run]);
        else known.push(run);
      }
    }
    for (const group of this.#groups.values()) {
      const matching = selected.get(group);
      const selection =
        type === liveTypes.position ? undefined : matching === undefined ? empty : Selection.of(matching, group.filter);
      const isHeardByAll = selection !== undefined && selection.readings.length > 0;
      const heard: HeardMessage = { edge, number, ...told, selection };
      for (const subscription of group.members)
        if (isHeardByAll || subscription.hearsAll) subscription.hear(heard, now);
    }
    if (runs.length === 0) return;
    const oldest = runs.reduce((least, { receivedAt }) => Math.min(least, receivedAt), now);
    this.options.metrics.deliverySeconds.observe((Date.now() - oldest) / 1_000);
  }

  #groupsOf(deviceId: string): readonly Group[] {
    let groups = this.#matches.get(deviceId);
    if (groups === undefined) {
      groups = [...this.#groups.values()].filter(
        ({ filter, selected }) => filter.matches(deviceId) && (selected === undefined || selected.has(deviceId)),
      );
      if (this.#matchCount > cachedMatchesMax) this.#forgetMatches();
      this.#matches.set(deviceId, groups);
      this.#matchCount += 1 + groups.length;
    }
    return groups;
  }

  /** Resolves when no change of the registry, of presence or of a command is missed from now on. The queue is there from the first subscription that needs it. */
  async #hearEvents(): Promise<void> {
    this.#hearing ??= new Promise((resolve) =>
      this.options.broker.receiveEvents(
        this.instanceId,
        (event) => this.#receiveEvent(event),
        () => {
          resolve();
          // After a loss; nothing is read again before something was read.
          void this.#selections?.readAgain();
          for (const events of this.#deviceEvents) void events.present();
        },
      ),
    );
    await withTimeout(this.#hearing, hearingTimeoutMs);
  }

  #receiveEvent(event: LiveEvent): void {
    if (event.type === presenceChangedType) {
      for (const change of event.changes) for (const events of this.#deviceEvents) events.hearPresence(change);
      return;
    }
    if (event.type === commandChangedType) {
      for (const change of event.changes) for (const events of this.#deviceEvents) events.hearCommand(change);
      return;
    }
    const selecting = [...this.#deviceEvents].map((events) => [events, events.selects(event.deviceId)] as const);
    this.#selections?.apply(event);
    for (const [events, wasSelected] of selecting) events.hearRegistry(event, wasSelected);
  }

  #applySelection(selected: SelectedDevices, { added, removed }: SelectionChange): void {
    for (const deviceId of [...added, ...removed]) {
      const groups = this.#matches.get(deviceId);
      if (groups === undefined) continue;
      this.#matches.delete(deviceId);
      this.#matchCount -= 1 + groups.length;
    }
    for (const group of this.#groups.values()) {
      if (group.selected !== selected || group.filter.devices !== undefined) continue;
      this.#interest.remove({ devices: removed, patterns: [] });
      if (this.#interest.add({ devices: added, patterns: [] })) this.#announceSoon();
    }
  }

  #forgetMatches(): void {
    this.#matches.clear();
    this.#matchCount = 0;
  }

  #tick(): void {
    const now = Date.now();
    for (const watcher of this.#ticking) watcher.tick(now);
  }
}

async function withTimeout(promise: Promise<void>, timeoutMs: number): Promise<void> {
  const late = AbortSignal.timeout(timeoutMs);
  const failed = new Promise<never>((_resolve, reject) =>
    late.addEventListener('abort', () => reject(new Error('the broker is not connected')), { once: true }),
  );
  await Promise.race([promise, failed]);
}
