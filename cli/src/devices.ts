import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { positiveInteger } from './arguments.ts';
import { action, print, table } from './output.ts';

interface Settings extends Connection {
  readonly search?: string;
  readonly seenSince?: string;
  readonly limit: number;
}

interface Device {
  readonly deviceId: string;
  readonly firstSeenAt: string;
  readonly lastSeenAt: string | null;
  readonly lastTs: string | null;
}

interface Page {
  readonly data: readonly Device[];
  readonly page: { readonly next: string | null };
}

const pageMax = 1_000;

export function devicesCommand(signal: AbortSignal): Command {
  const command = withConnection(new Command('devices').description('list devices, ordered by id'))
    .option('--search <text>', 'only ids that contain this text')
    .option('--seen-since <time>', 'only devices that sent something since: RFC 3339 or now-6h')
    .option('--limit <n>', 'maximum number of devices', positiveInteger, 100);

  return action(command, async (settings: Settings) => {
    const { search: q, seenSince, json } = settings;
    const api = createApi(settings, signal);
    const devices: Device[] = [];
    let next: string | null | undefined;
    do {
      const limit = Math.min(pageMax, settings.limit - devices.length);
      const { data, page }: Page = await api.get('/devices', { q, seenSince, limit, cursor: next ?? undefined });
      devices.push(...data);
      next = page.next;
    } while (next !== null && devices.length < settings.limit);
    const rows = devices.map(({ deviceId, firstSeenAt, lastSeenAt, lastTs }) => [
      deviceId,
      firstSeenAt,
      lastSeenAt,
      lastTs,
    ]);
    const text = rows.length === 0 ? 'no devices' : table(['DEVICE', 'FIRST SEEN', 'LAST SEEN', 'NEWEST TIME'], rows);
    print(
      { data: devices, complete: next === null },
      `${text}${next === null ? '' : '\nthere are more: raise --limit'}`,
      json,
    );
  });
}
