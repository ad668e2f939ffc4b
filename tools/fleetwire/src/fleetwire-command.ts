import { Command } from 'commander';
import { keysGenerateCommand } from './keys-generate.ts';
import { keysRotateCommand } from './keys-rotate.ts';
import { tokenInspectCommand } from './token-inspect.ts';
import { tokenMintCommand } from './token-mint.ts';

/** The command line: one file a command. */
export function fleetwireCommand(): Command {
  const fleetwire = new Command('fleetwire')
    .description('Works with a Fleetwire installation.')
    .showHelpAfterError('(--help tells more)');
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
  return fleetwire.addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage.');
}
