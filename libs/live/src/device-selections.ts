import { setTimeout as sleep } from 'node:timers/promises';
import { type Backoff, backoffMs } from '@fleetwire/contracts/backoff';
import type { DeviceEventMessage } from '@fleetwire/contracts/device-event';
import { type DeviceClient, TooManyDevices } from './device-client.ts';
import { HistoryRefusal } from './history-client.ts';
import type { LiveFilter } from './live-filter.ts';
import { SelectedDevices, type SelectionChange } from './selected-devices.ts';

/** The token of a subscriber as it is now. */
export type TokenOf = () => string | undefined;

export interface DeviceSelectionsOptions {
  readonly client: DeviceClient;
  /** Of one filter. All filters together may select ten times as many. */
  readonly devicesMax: number;
  readonly logger: { warn(fields: object, message: string): void };
  readonly onChange: (selected: SelectedDevices, change: SelectionChange) => void;
}

interface Selection {
  readonly selected: SelectedDevices;
  /** With the token of one of them it is read again. */
  readonly users: Set<TokenOf>;
  opening: Promise<void>;
}

const filtersPerInstance = 10;
const readTimeoutMs = 30_000;
const readBackoff: Backoff = { baseMs: 500, capMs: 30_000 };

/** Which devices the filters by tag and device type select: read from query-api when the first subscription has the filter, and kept up with the changes of the registry. */
export class DeviceSelections {
  readonly #options: DeviceSelectionsOptions;
  readonly #selections = new Map<string, Selection>();
  #ending = new AbortController();
  #rereading = new AbortController();

  constructor(options: DeviceSelectionsOptions) {
    this.#options = options;
  }

  /** The caller receives changes already. @throws as {@link DeviceClient} does */
  async open(filter: LiveFilter, user: TokenOf): Promise<SelectedDevices> {
    const key = filter.devicesKey;
    let selection = this.#selections.get(key);
    if (selection === undefined) {
      selection = { selected: new SelectedDevices(filter), users: new Set([user]), opening: Promise.resolve() };
      selection.opening = this.#read(selection, this.#ending.signal);
      this.#selections.set(key, selection);
    }
    selection.users.add(user);
    try {
      await selection.opening;
    } catch (error) {
      this.close(selection.selected, user);
      throw error;
    }
    return selection.selected;
  }

  close({ filter }: SelectedDevices, user: TokenOf): void {
    const selection = this.#selections.get(filter.devicesKey);
    if (selection?.users.delete(user) === true && selection.users.size === 0)
      this.#selections.delete(filter.devicesKey);
  }

  apply(change: DeviceEventMessage): void {
    for (const { selected } of this.#selections.values()) this.#options.onChange(selected, selected.apply(change));
  }

  /** Changes were lost: reads all selections again, one after the other, until each was read. */
  async readAgain(): Promise<void> {
    this.#rereading.abort();
    this.#rereading = new AbortController();
    const signal = AbortSignal.any([this.#rereading.signal, this.#ending.signal]);
    for (const selection of this.#selections.values()) await this.#readUntilRead(selection, signal);
  }

  stop(): void {
    this.#ending.abort();
  }

  async #readUntilRead(selection: Selection, signal: AbortSignal): Promise<void> {
    for (let failures = 1; selection.users.size > 0 && !signal.aborted; failures += 1) {
      try {
        return await this.#read(selection, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (failures === 1)
          this.#options.logger.warn({ err: error }, 'failed to read the devices of a filter; the last ones stay');
        if (error instanceof HistoryRefusal || error instanceof TooManyDevices) return;
      }
      await sleep(backoffMs(readBackoff, failures), undefined, { signal }).catch(() => {});
    }
  }

  async #read({ selected, users }: Selection, stopping: AbortSignal): Promise<void> {
    const { client, devicesMax, onChange } = this.#options;
    const [user] = users;
    const signal = AbortSignal.any([stopping, AbortSignal.timeout(readTimeoutMs)]);
    const reading = selected.beginReading();
    try {
      const found = [];
      for await (const device of client.read(selected.filter, { events: [], token: user?.(), signal })) {
        found.push({ deviceId: device.deviceId, version: device.version });
        if (found.length > devicesMax)
          throw new TooManyDevices(
            `the filter selects more than ${devicesMax} devices (FILTER_DEVICES_MAX); narrow it by pattern or name devices`,
          );
      }
      const others = [...this.#selections.values()].reduce((sum, one) => sum + one.selected.size, 0) - selected.size;
      if (others + found.length > devicesMax * filtersPerInstance)
        throw new TooManyDevices(
          `filters by tag and device type select more than ${devicesMax * filtersPerInstance} devices on this instance (10 × FILTER_DEVICES_MAX); narrow the filter, or unsubscribe others`,
        );
      onChange(selected, selected.read(reading, found));
    } catch (error) {
      onChange(selected, selected.keep(reading));
      throw error;
    }
  }
}
