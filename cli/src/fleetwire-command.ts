import { Command } from 'commander';
import { devicesCommand } from './devices.ts';
import { dlqCancelCommand } from './dlq-cancel.ts';
import { dlqDiscardCommand } from './dlq-discard.ts';
import { dlqEditCommand } from './dlq-edit.ts';
import { dlqGroupsCommand } from './dlq-groups.ts';
import { dlqLsCommand } from './dlq-ls.ts';
import { dlqReplayCommand } from './dlq-replay.ts';
import { dlqReplaysCommand } from './dlq-replays.ts';
import { dlqRestoreCommand } from './dlq-restore.ts';
import { dlqShowCommand } from './dlq-show.ts';
import { keysGenerateCommand } from './keys-generate.ts';
import { keysRotateCommand } from './keys-rotate.ts';
import { queuesCommand } from './queues.ts';
import { sendCommand } from './send.ts';
import { tailCommand } from './tail.ts';
import { tokenInspectCommand } from './token-inspect.ts';
import { tokenMintCommand } from './token-mint.ts';

const help = `
Commands that talk to an installation take --url and --token, or FLEETWIRE_URL and FLEETWIRE_TOKEN.
Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/**
 * The command line: one file a command.
 * @param signal ends what goes on until it is ended, and gives up what is under way
 */
export function fleetwireCommand(signal: AbortSignal): Command {
  const fleetwire = new Command('fleetwire')
    .description('Works with a Fleetwire installation.')
    .showHelpAfterError('(--help tells more)');
  const dlq = fleetwire.command('dlq').description('dead letters: readings that could not be stored');
  for (const command of [
    dlqLsCommand,
    dlqGroupsCommand,
    dlqShowCommand,
    dlqReplayCommand,
    dlqReplaysCommand,
    dlqCancelCommand,
    dlqEditCommand,
    dlqDiscardCommand,
    dlqRestoreCommand,
  ]) {
    dlq.addCommand(command(signal));
  }
  for (const command of [queuesCommand, devicesCommand, sendCommand, tailCommand])
    fleetwire.addCommand(command(signal));
  fleetwire
    .command('keys')
    .description('signing keys')
    .addCommand(keysGenerateCommand())
    .addCommand(keysRotateCommand());
  fleetwire
    .command('token')
    .description('bearer tokens')
    .addCommand(tokenMintCommand())
    .addCommand(tokenInspectCommand());
  return fleetwire.addHelpText('after', help);
}
