import type { components } from '@fleetwire/client/openapi';
import { answerOf, api } from './api.ts';
import type { FleetDevice } from './fleet.ts';
import { type DeviceQuestion, firstQuery } from './device-question.ts';

export type ListedDevice = Pick<components['schemas']['Device'], 'deviceId' | 'lastSeenAt' | 'lastTs'>;

/** The first rows of that table, from the API, until the live socket has told of all devices. */
interface FirstDevices {
  readonly devices: ReadonlyMap<string, FleetDevice>;
  readonly listed: ReadonlyMap<string, ListedDevice>;
}

let newest: { readonly question: string; readonly at: number; readonly devices: Promise<FirstDevices> } | undefined;
/** The page asks before the code of its view is here, which then gets the same answer. */
const sharedMs = 5_000;

export function firstDevices(asked: DeviceQuestion): Promise<FirstDevices> {
  const question = JSON.stringify(asked);
  if (newest?.question === question && performance.now() - newest.at < sharedMs) return newest.devices;
  const devices = readFirstDevices(asked);
  newest = { question, at: performance.now(), devices };
  devices.catch(() => (newest = undefined));
  return devices;
}

/** More than are visible at the same time. */
const firstMax = 50;
const fields = [
  'name',
  'type',
  'status',
  'tags',
  'metadata',
  'expectedIntervalMs',
  'presence',
  'lastSeenAt',
  'lastTs',
] as const;

async function readFirstDevices(question: DeviceQuestion): Promise<FirstDevices> {
  const params = { query: { ...firstQuery(question), fields: [...fields], limit: firstMax } };
  const { data } = await answerOf(api.GET('/api/v1/devices', { params }));
  const devices = data.map(
    ({ deviceId, name, type, status, tags, metadata, expectedIntervalMs, presence }): FleetDevice => ({
      deviceId,
      registration: {
        name: name ?? null,
        type: type ?? null,
        status: status ?? 'active',
        tags: tags ?? [],
        metadata: metadata ?? {},
        expectedIntervalMs: expectedIntervalMs ?? null,
      },
      presence: presence ?? undefined,
    }),
  );
  return {
    devices: new Map(devices.map((device) => [device.deviceId, device])),
    listed: new Map(data.map((device) => [device.deviceId, device])),
  };
}
