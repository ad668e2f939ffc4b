import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { positiveInteger } from './arguments.ts';
import { type DeadLetter, type FilterSettings, filterOf, withFilter } from './dead-letters.ts';
import { action, print, shortened, table } from './output.ts';

type Settings = Connection & FilterSettings & { readonly limit: number };

interface Page {
  readonly data: readonly DeadLetter[];
  readonly page: { readonly next: string | null };
}

const pageMax = 1_000;

export function dlqLsCommand(signal: AbortSignal): Command {
  const command = withFilter(
    withConnection(new Command('ls').description('list dead letters, the newest first')),
  ).option('--limit <n>', 'at most so many', positiveInteger, 50);

  return action(command, async (settings: Settings) => {
    const api = createApi(settings, signal);
    const letters: DeadLetter[] = [];
    let next: string | null | undefined;
    do {
      const limit = Math.min(pageMax, settings.limit - letters.length);
      const { data, page }: Page = await api.get('/dead-letters', {
        ...filterOf(settings),
        limit,
        cursor: next ?? undefined,
      });
      letters.push(...data);
      next = page.next;
    } while (next !== null && letters.length < settings.limit);
    const more = next === null ? '' : `\nand more: raise --limit`;
    print({ data: letters, complete: next === null }, `${listText(letters)}${more}`, settings.json);
  });
}

function listText(letters: readonly DeadLetter[]): string {
  if (letters.length === 0) return 'no dead letters';
  return table(
    ['ID', 'LAST FAILED', 'STATUS', 'REASON', 'DEVICE', 'SEQ', 'REPEATED', 'ERROR'],
    letters.map(({ id, lastFailedAt, status, reason, deviceId, seq, repeated, error }) => [
      id,
      lastFailedAt,
      status,
      reason,
      deviceId,
      seq,
      repeated,
      shortened(`${error.code} ${error.message}`, 60),
    ]),
  );
}
