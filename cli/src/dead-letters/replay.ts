import { setTimeout as sleep } from 'node:timers/promises';
import { answerOf, type FleetwireClient } from '@fleetwire/client/client';
import type { components } from '@fleetwire/client/openapi';
import { Command } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { positiveInteger, positiveNumber } from '../arguments.ts';
import { action, print, table } from '../output.ts';
import { type SelectionSettings, selectionOf, withSelection } from './selection.ts';

interface ReplaySettings extends Connection, SelectionSettings {
  readonly dryRun: boolean;
  readonly rate?: number;
  readonly max?: number;
  readonly wait: boolean;
}

interface ReplaysSettings extends Connection {
  readonly limit: number;
}

export type Replay = components['schemas']['DeadLetterReplay'];

export const waitDescription = 'wait until each outcome is known; exit code 1 if a reading failed again';
const pollMs = 500;

export function replayCommand(signal: AbortSignal): Command {
  const command = withSelection(withConnection(new Command('replay').description('publish dead letters again')))
    .option('--dry-run', 'count the matching dead letters and publish nothing', false)
    .option('--rate <n>', 'dead letters per second', positiveNumber)
    .option('--max <n>', 'maximum number of dead letters', positiveInteger)
    .option('--wait', waitDescription, false);

  return action(command, async (settings: ReplaySettings) => {
    const { dryRun, rate: ratePerSecond, max, wait, json } = settings;
    const api = createApi(settings, signal);
    const selection = selectionOf(command.args, settings);
    const body = { ...selection, dryRun, ratePerSecond, max } as components['schemas']['DeadLetterReplayRequest'];
    const started = await answerOf(api.POST('/api/v1/dead-letters/replays', { body }));
    const replay = wait ? await untilSettled(api, started, signal) : started;
    print(replay, dryRun ? `${replay.counts.matched} dead letters would be published` : replayText(replay), json);
    if (replay.counts.failedAgain > 0) process.exitCode = 1;
  });
}

export function replaysCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('replays')
      .description('list replays, newest first, or show one')
      .argument('[id]', 'id of the replay to show'),
  ).option('--limit <n>', 'maximum number of replays', positiveInteger, 20);

  return action(command, async (settings: ReplaysSettings) => {
    const [id] = command.args;
    const api = createApi(settings, signal);
    if (id === undefined) {
      const query = { limit: settings.limit };
      const page = await answerOf(api.GET('/api/v1/dead-letters/replays', { params: { query } }));
      print(page, replaysText(page.data), settings.json);
    } else {
      const replay = await answerOf(api.GET('/api/v1/dead-letters/replays/{id}', { params: { path: { id } } }));
      print(replay, replaysText([replay]), settings.json);
    }
  });
}

export function cancelCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('cancel')
      .description('cancel a replay; messages already published are still processed')
      .argument('<id>', 'id of the replay'),
  );

  return action(command, async (settings: Connection) => {
    const [id = ''] = command.args;
    const api = createApi(settings, signal);
    const replay = await answerOf(api.POST('/api/v1/dead-letters/replays/{id}/cancel', { params: { path: { id } } }));
    print(replay, replayText(replay), settings.json);
  });
}

/** Waits until the outcome of every message that the replay published is known. */
export async function untilSettled(api: FleetwireClient, replay: Replay, signal: AbortSignal): Promise<Replay> {
  let current = replay;
  while (['queued', 'running', 'settling'].includes(current.state)) {
    await sleep(pollMs, undefined, { signal });
    current = await answerOf(api.GET('/api/v1/dead-letters/replays/{id}', { params: { path: { id: replay.id } } }));
  }
  return current;
}

export function replayText({ id, state, counts }: Replay): string {
  const { matched, published, stored, failedAgain, pending, unknown } = counts;
  const outcome = `${stored} stored, ${failedAgain} failed again, ${pending} pending${unknown > 0 ? `, ${unknown} unknown` : ''}`;
  return `replay ${id}: ${state}, ${published} of ${matched} published, ${outcome}`;
}

function replaysText(replays: readonly Replay[]): string {
  if (replays.length === 0) return 'no replays';
  return table(
    ['ID', 'CREATED', 'BY', 'SOURCE', 'STATE', 'MATCHED', 'QUEUED', 'PUBLISHED', 'STORED', 'FAILED AGAIN', 'PENDING'],
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
