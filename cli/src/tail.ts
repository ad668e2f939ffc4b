import { setTimeout as sleep } from 'node:timers/promises';
import { parseDuration } from '@fleetwire/contracts/duration';
import { Command, InvalidArgumentError } from 'commander';
import { type Api, type Connection, createApi, withConnection } from './api.ts';
import { action, print, printable } from './output.ts';

type Settings = Connection & { readonly interval: number };

/** One line of the tail. */
interface Line {
  readonly deviceId: string;
  readonly ts: string;
  readonly receivedAt: string;
  readonly epoch?: string;
  readonly seq?: number;
  readonly metrics: object;
}

/** Looks once; says what is new since it looked last, the oldest first. */
type Look = () => Promise<readonly Line[]>;

const readingsPerLook = 500;
const devicesPerPage = 5_000;

export function tailCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('tail')
      .description('show readings as they are stored, until Ctrl-C')
      .argument('[devices...]', 'of these devices; without, the latest state of every device that says something'),
  ).option('--interval <time>', 'how often to look, such as 500ms or 5s', interval, 1_000);

  return action(command, async (settings: Settings) => {
    const api = createApi(settings, signal);
    const looks = command.args.length === 0 ? [lookAtAll(api)] : command.args.map((device) => lookAt(api, device));
    // What is there already is not news; and who may not look at all is told at once.
    await Promise.all(looks.map((look) => look()));
    let failure = '';
    while (!signal.aborted) {
      await sleep(settings.interval, undefined, { signal }).catch(() => {});
      for (const look of looks) {
        if (signal.aborted) return;
        try {
          for (const line of await look()) print(line, lineText(line), settings.json);
          failure = '';
        } catch (error) {
          if (signal.aborted) return;
          const { message } = error as Error;
          if (message !== failure) process.stderr.write(`${message}; looking on\n`);
          failure = message;
        }
      }
    }
  });
}

/** Stored readings of one device; those of a burst longer than a look are left out. */
function lookAt(api: Api, deviceId: string): Look {
  let seen = new Set<string>();
  return async () => {
    const path = `/devices/${encodeURIComponent(deviceId)}/readings`;
    const { data }: { data: readonly Line[] } = await api.get(path, { order: 'desc', limit: readingsPerLook });
    const known = seen;
    const name = ({ epoch, seq }: Line) => `${epoch}/${seq}`;
    seen = new Set(data.map(name));
    return data
      .filter((reading) => !known.has(name(reading)))
      .map((reading) => ({ ...reading, deviceId }))
      .reverse();
  };
}

function lookAtAll(api: Api): Look {
  const lastOf = new Map<string, string>();
  return async () => {
    const lines: Line[] = [];
    let cursor: string | undefined;
    do {
      const { data, page }: { data: readonly Line[]; page: { next: string | null } } = await api.get('/data', {
        limit: devicesPerPage,
        cursor,
      });
      for (const line of data) {
        const version = `${line.receivedAt} ${line.ts}`;
        if (lastOf.get(line.deviceId) !== version) lines.push(line);
        lastOf.set(line.deviceId, version);
      }
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);
    return lines.sort((a, b) => (a.receivedAt < b.receivedAt ? -1 : 1));
  };
}

function lineText({ ts, deviceId, epoch, seq, metrics }: Line): string {
  const identity = epoch === undefined ? '' : `  ${epoch}/${seq}`;
  return printable(`${ts}  ${deviceId}${identity}  ${JSON.stringify(metrics)}`);
}

/** @returns milliseconds */
function interval(text: string): number {
  const milliseconds = parseDuration(text) ?? 0;
  if (milliseconds >= 100) return milliseconds;
  throw new InvalidArgumentError('It must be a time from 100ms, such as 5s.');
}
