import { setTimeout as sleep } from 'node:timers/promises';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { CommandChange } from '@fleetwire/contracts/command-event';
import type { DeviceEventMessage } from '@fleetwire/contracts/device-event';
import type { LiveDevice } from '@fleetwire/contracts/live-devices';
import type { PresenceChange } from '@fleetwire/contracts/presence-event';
import type { SubscriptionEvent } from '@fleetwire/contracts/subscription';
import type { DeviceClient } from './device-client.ts';
import { HistoryRefusal } from './history-client.ts';
import type { LiveFilter } from './live-filter.ts';
import { membersOf } from './outlet.ts';
import type { SelectedDevices } from './selected-devices.ts';

/** Without the readings. */
type EventKind = Exclude<SubscriptionEvent, 'readings'>;
/** Types of the messages. */
type EventMessage = 'presence' | 'registry' | 'command';

export interface DeviceEventsOptions {
  readonly filter: LiveFilter;
  /** Of a filter by tag or device type. */
  readonly selected: SelectedDevices | undefined;
  readonly events: readonly EventKind[];
  readonly client: DeviceClient | undefined;
  readonly token: () => string | undefined;
  /** Devices whose present state is told. */
  readonly presentMax: number;
  /** Changes kept while the subscriber does not read. */
  readonly entriesMax: number;
  /** @param members the JSON text without braces */
  readonly write: (type: EventMessage | 'present', members: string) => void;
  readonly onTooManyEntries: () => void;
  /** Resolves when the subscriber has read most of what was sent; undefined when it has now. */
  readonly whenRoom: (signal: AbortSignal) => Promise<void> | undefined;
}

interface Waiting {
  readonly type: EventMessage;
  readonly members: string;
}

const waitingBytesMax = 4 * 1024 * 1024;
const readBackoff: Backoff = { baseMs: 500, capMs: 30_000 };

/**
 * Tells one subscription what its devices are like now, and then each change of presence or of the registry; of commands the changes only.
 * While a subscriber reads slowly, a device, and a command, has one change of each kind that is not told yet: the newest.
 */
export class DeviceEvents {
  readonly #options: DeviceEventsOptions;
  readonly #ending = new AbortController();
  readonly #waiting = new Map<string, Waiting>();
  #waitingBytes = 0;
  #presenting = new AbortController();
  /** Changes wait until the present state is told: it may be older than they are. */
  #isPresenting = true;
  #isDraining = false;

  constructor(options: DeviceEventsOptions) {
    this.#options = options;
  }

  selects(deviceId: string): boolean {
    const { selected, filter } = this.#options;
    return selected === undefined ? filter.matches(deviceId) : selected.has(deviceId);
  }

  /** Tells the present state; again after changes may have been lost. */
  async present(): Promise<void> {
    this.#presenting.abort();
    this.#presenting = new AbortController();
    this.#isPresenting = true;
    const signal = AbortSignal.any([this.#presenting.signal, this.#ending.signal]);
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        const told = await this.#presentOnce(signal);
        if (told !== undefined) this.#options.write('present', membersOf(told));
        break;
      } catch (error) {
        if (signal.aborted || error instanceof HistoryRefusal) break;
      }
      await sleep(backoffMs(readBackoff, failures), undefined, { signal }).catch(() => {});
    }
    if (signal.aborted) return;
    this.#isPresenting = false;
    await this.#drain();
  }

  hearPresence({ deviceId, status, reason, since }: PresenceChange): void {
    if (!this.#options.events.includes('presence') || !this.selects(deviceId)) return;
    this.#tell('presence', deviceId, { deviceId, status, reason, since: new Date(since).toISOString() });
  }

  hearCommand({ deviceId, at, ...change }: CommandChange): void {
    if (!this.#options.events.includes('commands') || !this.selects(deviceId)) return;
    this.#tell('command', change.commandId, { deviceId, ...change, at: new Date(at).toISOString() });
  }

  /** @param wasSelected before the change */
  hearRegistry({ deviceId, type, version, occurredAt, state }: DeviceEventMessage, wasSelected: boolean): void {
    const matches = this.selects(deviceId);
    if (!this.#options.events.includes('registry') || !(matches || wasSelected)) return;
    const { erasedBefore = null } = state;
    this.#tell('registry', deviceId, {
      deviceId,
      change: type,
      version,
      matches,
      at: new Date(occurredAt).toISOString(),
      state: { ...state, erasedBefore: erasedBefore === null ? null : new Date(erasedBefore).toISOString() },
    });
  }

  close(): void {
    this.#ending.abort();
    this.#waiting.clear();
  }

  /** @returns what was told; undefined when it was ended */
  async #presentOnce(signal: AbortSignal): Promise<{ devices: number; complete: boolean } | undefined> {
    const { client, filter, token, presentMax, whenRoom } = this.#options;
    const events = this.#options.events.filter((event) => event !== 'commands');
    if (client === undefined || events.length === 0) return { devices: 0, complete: false };
    let devices = 0;
    for await (const device of client.read(filter, { events, token: token(), signal })) {
      if (devices === presentMax) return { devices, complete: false };
      const room = whenRoom(signal);
      if (room !== undefined) await room;
      if (signal.aborted) return undefined;
      this.#presentDevice(device);
      devices += 1;
    }
    return { devices, complete: true };
  }

  #presentDevice({ deviceId, version, presence, state }: LiveDevice): void {
    const { write } = this.#options;
    if (presence !== undefined && presence !== null) write('presence', membersOf({ deviceId, ...presence }));
    if (state !== undefined && version > 0)
      write('registry', membersOf({ deviceId, change: 'present', version, matches: true, at: null, state }));
  }

  /** @param subject what has changed */
  #tell(type: EventMessage, subject: string, message: object): void {
    const key = `${type} ${subject}`;
    const members = membersOf(message);
    this.#waitingBytes += members.length - (this.#waiting.get(key)?.members.length ?? 0);
    this.#waiting.delete(key);
    this.#waiting.set(key, { type, members });
    if (this.#waiting.size > this.#options.entriesMax || this.#waitingBytes > waitingBytesMax)
      return this.#options.onTooManyEntries();
    void this.#drain();
  }

  async #drain(): Promise<void> {
    if (this.#isPresenting || this.#isDraining) return;
    this.#isDraining = true;
    const { signal } = this.#ending;
    for (const [key, { type, members }] of this.#waiting) {
      const room = this.#options.whenRoom(signal);
      if (room !== undefined) {
        await room;
        // It may have been replaced by a newer one, which comes later in the map.
        if (signal.aborted || this.#isPresenting) break;
        if (this.#waiting.get(key)?.members !== members) continue;
      }
      this.#waiting.delete(key);
      this.#waitingBytes -= members.length;
      this.#options.write(type, members);
    }
    this.#isDraining = false;
  }
}
