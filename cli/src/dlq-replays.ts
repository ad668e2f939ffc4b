import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { positiveInteger } from './arguments.ts';
import type { Replay } from './dead-letters.ts';
import { action, print, table } from './output.ts';

type Settings = Connection & { readonly limit: number };

export function dlqReplaysCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('replays').description('list replays, the newest first, or show one').argument('[id]', 'this one'),
  ).option('--limit <n>', 'at most so many', positiveInteger, 20);

  return action(command, async (settings: Settings) => {
    const [id] = command.args;
    const api = createApi(settings, signal);
    if (id === undefined) {
      const page: { data: readonly Replay[] } = await api.get('/dead-letters/replays', { limit: settings.limit });
      print(page, replaysText(page.data), settings.json);
    } else {
      const replay: Replay = await api.get(`/dead-letters/replays/${encodeURIComponent(id)}`);
      print(replay, replaysText([replay]), settings.json);
    }
  });
}

function replaysText(replays: readonly Replay[]): string {
  if (replays.length === 0) return 'no replays';
  return table(
    ['ID', 'MADE', 'BY', 'SOURCE', 'STATE', 'MATCHED', 'QUEUED', 'PUBLISHED', 'STORED', 'FAILED AGAIN', 'PENDING'],
    replays.map(({ id, createdAt, createdBy, source, state, counts }) => [
      id,
      createdAt,
      createdBy,
      source,
      state,
      counts.matched,
      counts.queued,
      counts.published,
      counts.stored,
      counts.failedAgain,
      counts.pending,
    ]),
  );
}
