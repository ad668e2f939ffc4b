import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { positiveInteger } from './arguments.ts';
import { type FilterSettings, filterOf, withFilter } from './dead-letters.ts';
import { action, print, shortened, table } from './output.ts';

type Settings = Connection & FilterSettings & { readonly limit: number };

interface Groups {
  readonly data: readonly {
    readonly fingerprint: string;
    readonly reason: string;
    readonly count: number;
    readonly byStatus: { readonly open: number };
    readonly repeated: number;
    readonly devices: number;
    readonly firstSeenAt: string;
    readonly lastSeenAt: string;
    readonly example: { readonly id: string; readonly message: string };
  }[];
}

export function dlqGroupsCommand(signal: AbortSignal): Command {
  const command = withFilter(
    withConnection(new Command('groups').description('dead letters by kind of failure, the most frequent first')),
  ).option('--limit <n>', 'at most so many groups', positiveInteger, 50);

  return action(command, async (settings: Settings) => {
    const groups: Groups = await createApi(settings, signal).get('/dead-letters/groups', {
      ...filterOf(settings),
      limit: settings.limit,
    });
    print(groups, groupsText(groups), settings.json);
  });
}

function groupsText({ data }: Groups): string {
  if (data.length === 0) return 'no dead letters';
  return table(
    ['FINGERPRINT', 'COUNT', 'OPEN', 'REPEATED', 'DEVICES', 'REASON', 'FIRST SEEN', 'LAST SEEN', 'EXAMPLE', 'ERROR'],
    data.map(({ fingerprint, count, byStatus, repeated, devices, reason, firstSeenAt, lastSeenAt, example }) => [
      fingerprint,
      count,
      byStatus.open,
      repeated,
      devices,
      reason,
      firstSeenAt,
      lastSeenAt,
      example.id,
      shortened(example.message, 60),
    ]),
  );
}
