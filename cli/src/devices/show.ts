import { answerOf } from '@fleetwire/client/client';
import type { components } from '@fleetwire/client/openapi';
import { Command } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { action, print, printable } from '../output.ts';

interface Settings extends Connection {
  readonly at?: string;
}

export type Device = components['schemas']['DeviceDetails'];

export function showDeviceCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('show').description('show one device').argument('<id>', 'id of the device'),
  ).option('--at <time>', 'as it was registered at this time: RFC 3339 or now-6h');

  return action(command, async (settings: Settings) => {
    const [id = ''] = command.args;
    const { at } = settings;
    const params = { path: { id }, query: { ...(at !== undefined && { at }) } };
    const device = await answerOf(createApi(settings, signal).GET('/api/v1/devices/{id}', { params }));
    print(device, deviceText(device), settings.json);
  });
}

export function deviceText(device: Device): string {
  const { deviceId, name, type, status, registered, tags, location, metadata, expectedIntervalMs, version } = device;
  const lines: [string, string | null | undefined][] = [
    ['device', deviceId],
    ['name', name],
    ['type', type],
    ['status', registered ? status : `${status}, not registered`],
    ['tags', tags?.join(' ') || null],
    ['location', location && JSON.stringify(location)],
    ['metadata', JSON.stringify(metadata)],
    ['expected', expectedIntervalMs === null ? null : `every ${expectedIntervalMs} ms`],
    ['version', String(version)],
    ['first seen', device.firstSeenAt],
    ['last seen', device.lastSeenAt],
  ];
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([label, value]) => `${label.padEnd(10)}  ${printable(value ?? '-')}`)
    .join('\n');
}
