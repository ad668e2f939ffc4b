import type { DeviceEventMessage } from '@fleetwire/contracts/device-event';
import type { LiveDevice } from '@fleetwire/contracts/live-devices';
import type { LiveFilter } from './live-filter.ts';

type RegistryChange = Pick<DeviceEventMessage, 'deviceId' | 'version' | 'state'>;

export interface SelectionChange {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** The devices that a filter by tag or device type selects. No I/O. */
export class SelectedDevices {
  readonly filter: LiveFilter;
  /** The versions of their registry entries. */
  readonly #versions = new Map<string, number>();
  /** Changes that came while the devices are read. */
  #waiting: RegistryChange[] | undefined;

  constructor(filter: LiveFilter) {
    this.filter = filter;
  }

  get size(): number {
    return this.#versions.size;
  }

  get ids(): Iterable<string> {
    return this.#versions.keys();
  }

  has(deviceId: string): boolean {
    return this.#versions.has(deviceId);
  }

  /**
   * Changes wait until {@link read} or {@link keep} of this reading; those that wait for an earlier one wait for this one instead.
   * @returns what names it
   */
  beginReading(): object {
    this.#waiting = [...(this.#waiting ?? [])];
    return this.#waiting;
  }

  /** @param devices as the registry has them; changes that came since `beginReading` are applied after */
  read(reading: object, devices: readonly Pick<LiveDevice, 'deviceId' | 'version'>[]): SelectionChange {
    if (reading !== this.#waiting) return unchanged;
    const before = new Set(this.#versions.keys());
    this.#versions.clear();
    for (const { deviceId, version } of devices) this.#versions.set(deviceId, version);
    this.keep(reading);
    const added = [...this.#versions.keys()].filter((id) => !before.delete(id));
    return { added, removed: [...before] };
  }

  /** The devices could not be read. Nothing changes if another reading has begun since. */
  keep(reading: object): SelectionChange {
    const waiting = this.#waiting;
    if (waiting === undefined || reading !== waiting) return unchanged;
    this.#waiting = undefined;
    const changes = waiting.map((change) => this.apply(change));
    return { added: changes.flatMap(({ added }) => added), removed: changes.flatMap(({ removed }) => removed) };
  }

  apply(change: RegistryChange): SelectionChange {
    const { deviceId, version, state } = change;
    if (this.#waiting !== undefined) {
      this.#waiting.push(change);
      return unchanged;
    }
    const known = this.#versions.get(deviceId);
    if (known !== undefined && version < known) return unchanged;
    if (this.filter.matches(deviceId) && this.filter.matchesEntry(state)) {
      this.#versions.set(deviceId, version);
      return known === undefined ? { added: [deviceId], removed: [] } : unchanged;
    }
    return this.#versions.delete(deviceId) ? { added: [], removed: [deviceId] } : unchanged;
  }
}

const unchanged: SelectionChange = { added: [], removed: [] };
