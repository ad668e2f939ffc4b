import type { SelectedDevice } from '@fleetwire/store/series/select-devices';
import type { SeriesQuery } from '@fleetwire/store/series/series-query';
import type { GroupBy } from './question.ts';

/** Devices of which one series of each metric is answered. */
export interface Group {
  readonly number: number;
  /** What the series says of it: `{ deviceId }`, or `{ group, devices }`. */
  readonly name: object;
}

export interface Grouping {
  readonly groups: readonly Group[];
  readonly ofDevices: SeriesQuery['groups'];
}

/** A device with several tags of the key is in each of their groups; one without any is in the group null. */
export function groupDevices(devices: readonly SelectedDevice[], by: GroupBy): Grouping {
  if (by === 'device')
    return {
      groups: devices.map(({ deviceKey, deviceId }) => ({ number: deviceKey, name: { deviceId } })),
      ofDevices: undefined,
    };
  if (by === 'none') return grouped(new Map([[null, devices]]), () => ({}));
  const valuesOf =
    by === 'type' ? ({ type }: SelectedDevice) => [type] : (device: SelectedDevice) => tagValues(device, by.tag);
  const members = new Map<string | null, SelectedDevice[]>();
  for (const device of devices)
    for (const value of valuesOf(device)) {
      const known = members.get(value);
      if (known === undefined) members.set(value, [device]);
      else known.push(device);
    }
  const key = by === 'type' ? 'type' : by.tag;
  const inOrder = [...members].sort(([a], [b]) => (a === null ? 1 : b === null || a < b ? -1 : 1));
  return grouped(new Map(inOrder), (value) => ({ [key]: value }));
}

function grouped(
  members: ReadonlyMap<string | null, readonly SelectedDevice[]>,
  nameOf: (value: string | null) => object,
): Grouping {
  const pairs = [...members.values()].flatMap((devices, number) =>
    devices.map(({ deviceKey }) => ({ deviceKey, number })),
  );
  return {
    groups: [...members].map(([value, devices], number) => ({
      number,
      name: { group: nameOf(value), devices: devices.length },
    })),
    ofDevices: {
      deviceKeys: pairs.map(({ deviceKey }) => deviceKey),
      numbers: pairs.map(({ number }) => number),
    },
  };
}

function tagValues({ tags }: SelectedDevice, key: string): (string | null)[] {
  const values = tags.filter((tag) => tag.startsWith(`${key}:`)).map((tag) => tag.slice(key.length + 1));
  return values.length > 0 ? [...new Set(values)] : [null];
}
