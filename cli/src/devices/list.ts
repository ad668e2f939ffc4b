import { answerOf } from '@fleetwire/client/client';
import type { components, paths } from '@fleetwire/client/openapi';
import { Command } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { positiveInteger } from '../arguments.ts';
import { action, print, table } from '../output.ts';

interface Settings extends Connection {
  readonly search?: string;
  readonly seenSince?: string;
  readonly tag?: string;
  readonly type?: string;
  readonly status?: string;
  readonly registered?: boolean;
  readonly sort: string;
  readonly limit: number;
}

type DevicesQuery = NonNullable<paths['/api/v1/devices']['get']['parameters']['query']>;
/** With the members of `fields`. */
type Device = Required<components['schemas']['Device']>;

const pageMax = 1_000;

const fields = 'name,type,status,registered,tags,lastSeenAt';

export function listDevicesCommand(signal: AbortSignal): Command {
  const command = withConnection(new Command('list').description('list devices, registered or not'))
    .option('--search <text>', 'only devices whose id or name contains this text')
    .option('--tag <tags>', 'only devices with all of these tags, separated by commas')
    .option('--type <type>', 'only devices of this type')
    .option(
      '--status <status>',
      'only devices with one of these: active, maintenance, suspended, retired; all but retired by default',
    )
    .option('--registered', 'only registered devices')
    .option('--no-registered', 'only devices that were never registered')
    .option('--seen-since <time>', 'only devices that sent something since: RFC 3339 or now-6h')
    .option(
      '--sort <order>',
      'deviceId, name, lastSeenAt, silentFor or presence; with - in front: descending',
      'deviceId',
    )
    .option('--limit <n>', 'maximum number of devices', positiveInteger, 100);

  return action(command, async (settings: Settings) => {
    const { search: q, seenSince, tag, type, status, sort, json } = settings;
    const registered = settings.registered === undefined ? undefined : String(settings.registered);
    const api = createApi(settings, signal);
    const devices: Device[] = [];
    let next: string | null | undefined;
    do {
      const limit = Math.min(pageMax, settings.limit - devices.length);
      const filter = { q, seenSince, tag, type, status, registered, sort, fields };
      const query = { ...filter, limit, ...(next && { cursor: next }) } as unknown as DevicesQuery;
      const { data, page } = await answerOf(api.GET('/api/v1/devices', { params: { query } }));
      devices.push(...(data as Device[]));
      next = page.next;
    } while (next !== null && devices.length < settings.limit);
    const rows = devices.map((device) => [
      device.deviceId,
      device.name,
      device.type,
      device.registered ? device.status : `${device.status}, not registered`,
      device.tags.join(' '),
      device.lastSeenAt,
    ]);
    const headings = ['DEVICE', 'NAME', 'TYPE', 'STATUS', 'TAGS', 'LAST SEEN'];
    const text = rows.length === 0 ? 'no devices' : table(headings, rows);
    print(
      { data: devices, complete: next === null },
      `${text}${next === null ? '' : '\nthere are more: raise --limit'}`,
      json,
    );
  });
}
