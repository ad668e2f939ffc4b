import { setTimeout as sleep } from 'node:timers/promises';
import { answerOf, type FleetwireClient } from '@fleetwire/client/client';
import { parseDuration } from '@fleetwire/contracts/timestamp';
import { Command, InvalidArgumentError } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { action, print, printable } from './output.ts';

interface Settings extends Connection {
  readonly interval: number;
}

/** One line of the tail. */
interface Line {
  readonly deviceId: string;
  readonly ts: string;
  readonly receivedAt: string;
  readonly epoch?: string;
  readonly seq?: number;
  readonly metrics: object;
}

/** The type says what `answerOf` gives: it depends on the page before. */
interface LatestPage {
  readonly data: readonly Line[];
  readonly page: { readonly next: string | null };
}

/** Fetches once and gives the readings that are new since the previous call, oldest first. */
type Poll = () => Promise<readonly Line[]>;

const readingsPerPoll = 500;
const devicesPerPage = 5_000;

export function tailCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('tail')
      .description('print readings as they are stored, until Ctrl-C')
      .argument('[devices...]', 'only these devices; without ids, the latest state of every device that sends'),
  ).option('--interval <time>', 'time between requests, such as 500ms or 5s', interval, 1_000);

  return action(command, async (settings: Settings) => {
    const api = createApi(settings, signal);
    const polls = command.args.length === 0 ? [pollAll(api)] : command.args.map((device) => pollDevice(api, device));
    // The first poll only marks the readings that are stored already; it also reports a missing permission before the loop starts.
    await Promise.all(polls.map((poll) => poll()));
    let failure = '';
    while (!signal.aborted) {
      await sleep(settings.interval, undefined, { signal }).catch(() => {});
      for (const poll of polls) {
        if (signal.aborted) return;
        try {
          for (const line of await poll()) print(line, lineText(line), settings.json);
          failure = '';
        } catch (error) {
          if (signal.aborted) return;
          const { message } = error as Error;
          if (message !== failure) process.stderr.write(`${message}; retrying\n`);
          failure = message;
        }
      }
    }
  });
}

/** New readings of one device. Of more than `readingsPerPoll` between two polls, the oldest are left out. */
function pollDevice(api: FleetwireClient, deviceId: string): Poll {
  let seen = new Set<string>();
  return async () => {
    const params = { path: { id: deviceId }, query: { order: 'desc', limit: readingsPerPoll } } as const;
    const { data } = await answerOf(api.GET('/api/v1/devices/{id}/readings', { params }));
    const known = seen;
    const name = ({ epoch, seq }: Pick<Line, 'epoch' | 'seq'>) => `${epoch}/${seq}`;
    seen = new Set(data.map(name));
    return data
      .filter((reading) => !known.has(name(reading)))
      .map((reading) => ({ ...reading, deviceId }))
      .reverse();
  };
}

function pollAll(api: FleetwireClient): Poll {
  const lastOf = new Map<string, string>();
  return async () => {
    const lines: Line[] = [];
    let cursor: string | undefined;
    do {
      const query = { limit: devicesPerPage, ...(cursor !== undefined && { cursor }) };
      const { data, page }: LatestPage = await answerOf(api.GET('/api/v1/data', { params: { query } }));
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
