import { deadLetterReasons } from '@fleetwire/contracts/dead-letter';
import { type Command, Option } from 'commander';

export interface FilterSettings {
  readonly fingerprint?: string;
  readonly device?: string;
  readonly reason?: string;
  readonly status?: string;
  readonly from?: string;
  readonly to?: string;
}

export interface SelectionSettings extends FilterSettings {
  readonly confirm: boolean;
}

export function withFilter(command: Command): Command {
  return command
    .option('--fingerprint <text>', 'only failures of this kind; "dlq groups" shows the fingerprints')
    .option('--device <id>', 'only dead letters of this device')
    .addOption(
      new Option('--reason <reason>', 'only readings that were not stored for this reason').choices(deadLetterReasons),
    )
    .addOption(
      new Option('--status <status>', 'only dead letters in this state').choices([
        'open',
        'replaying',
        'stored',
        'discarded',
      ]),
    )
    .option('--from <time>', 'only dead letters that failed last at this time or later: RFC 3339 or now-6h')
    .option('--to <time>', 'only dead letters that failed last before this time');
}

/** Dead letters by id or by filter. */
export function withSelection(command: Command): Command {
  return withFilter(
    command.argument('[ids...]', 'ids of dead letters; without ids, every dead letter that the filters match'),
  ).option('--confirm', 'allow a command that names no ids and no filter but --status', false);
}

export function filterOf({ fingerprint, device: deviceId, reason, status, from, to }: FilterSettings) {
  return { fingerprint, deviceId, reason, status, from, to };
}

/** The part of a request body that selects dead letters. */
export function selectionOf(ids: readonly string[], settings: SelectionSettings): object {
  return ids.length > 0 ? { ids } : { filter: filterOf(settings), confirm: settings.confirm };
}
