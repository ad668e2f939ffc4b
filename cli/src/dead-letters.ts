import { setTimeout as sleep } from 'node:timers/promises';
import { deadLetterReasons } from '@fleetwire/contracts/dead-letter';
import { type Command, Option } from 'commander';
import type { Api } from './api.ts';

/** What the API says of a dead letter (docs/openapi.json: DeadLetter). */
export interface DeadLetter {
  readonly id: string;
  readonly status: string;
  readonly reason: string;
  readonly error: { readonly code: string; readonly message: string };
  readonly fingerprint: string;
  readonly deviceId: string | null;
  readonly epoch: string | null;
  readonly seq: number | null;
  readonly attempts: number;
  readonly firstFailedAt: string;
  readonly lastFailedAt: string;
  readonly replays: number;
  readonly repeated: number;
}

/** What the API says of a replay (docs/openapi.json: DeadLetterReplay). */
export interface Replay {
  readonly id: string;
  readonly source: string;
  readonly state: string;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly counts: Readonly<
    Record<'matched' | 'queued' | 'published' | 'stored' | 'failedAgain' | 'unknown' | 'pending', number>
  >;
}

export interface FilterSettings {
  readonly fingerprint?: string;
  readonly device?: string;
  readonly reason?: string;
  readonly status?: string;
  readonly from?: string;
  readonly to?: string;
}

export interface ChoiceSettings extends FilterSettings {
  readonly confirm: boolean;
}

const replayPollMs = 500;

export function withFilter(command: Command): Command {
  return command
    .option('--fingerprint <text>', 'failures of one kind, as groups show them')
    .option('--device <id>', 'of this device')
    .addOption(new Option('--reason <reason>', 'why it could not be stored').choices(deadLetterReasons))
    .addOption(
      new Option('--status <status>', 'what has become of it').choices(['open', 'replaying', 'stored', 'discarded']),
    )
    .option('--from <time>', 'failed last from here: RFC 3339 or now-6h')
    .option('--to <time>', 'failed last up to here');
}

/** Dead letters by name or by filter. */
export function withChoice(command: Command): Command {
  return withFilter(command.argument('[ids...]', 'dead letters by id; without, those that the filters match')).option(
    '--confirm',
    'say that you mean all of them, where no filter narrows',
    false,
  );
}

export function filterOf({ fingerprint, device: deviceId, reason, status, from, to }: FilterSettings) {
  return { fingerprint, deviceId, reason, status, from, to };
}

/** The part of a request body that says which dead letters are meant. */
export function choiceOf(ids: readonly string[], settings: ChoiceSettings): object {
  return ids.length > 0 ? { ids } : { filter: filterOf(settings), confirm: settings.confirm };
}

/** Waits until it is known what became of everything that the replay published. */
export async function untilSettled(api: Api, replay: Replay, signal: AbortSignal): Promise<Replay> {
  let current = replay;
  while (['queued', 'running', 'settling'].includes(current.state)) {
    await sleep(replayPollMs, undefined, { signal });
    current = await api.get(`/dead-letters/replays/${encodeURIComponent(replay.id)}`);
  }
  return current;
}

export function replayText({ id, state, counts }: Replay): string {
  const { matched, published, stored, failedAgain, pending, unknown } = counts;
  const outcome = `${stored} stored, ${failedAgain} failed again, ${pending} pending${unknown > 0 ? `, ${unknown} unknown` : ''}`;
  return `replay ${id}: ${state}, ${published} of ${matched} published, ${outcome}`;
}
