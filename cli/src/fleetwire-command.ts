import { Command } from 'commander';
import { deviceCommand } from './command.ts';
import { groupsCommand, listCommand, showCommand } from './dead-letters/browse.ts';
import { discardCommand, restoreCommand } from './dead-letters/decide.ts';
import { editCommand } from './dead-letters/edit.ts';
import { cancelCommand, replayCommand, replaysCommand } from './dead-letters/replay.ts';
import {
  patchDeviceCommand,
  registerDeviceCommand,
  retireDeviceCommand,
  setDeviceStatusCommand,
} from './devices/change.ts';
import { listDevicesCommand } from './devices/list.ts';
import { showDeviceCommand } from './devices/show.ts';
import { generateCommand, rotateCommand } from './keys.ts';
import { queuesCommand } from './queues.ts';
import { sendCommand } from './send.ts';
import { tailCommand } from './tail.ts';
import { inspectCommand, mintCommand } from './tokens.ts';
import { exportCommand } from './transfer/export.ts';
import { importCommand } from './transfer/import.ts';

const help = `
Commands that talk to an installation take --url and --token, or FLEETWIRE_URL and FLEETWIRE_TOKEN.
Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** @param signal ends a command that runs until Ctrl-C, and cancels the request in flight */
export function fleetwireCommand(signal: AbortSignal): Command {
  const fleetwire = new Command('fleetwire')
    .description('Operate a Fleetwire installation.')
    .showHelpAfterError('(--help explains the usage)');
  const dlq = fleetwire.command('dlq').description('work with dead letters: messages that could not be stored');
  for (const command of [
    listCommand,
    groupsCommand,
    showCommand,
    replayCommand,
    replaysCommand,
    cancelCommand,
    editCommand,
    discardCommand,
    restoreCommand,
  ]) {
    dlq.addCommand(command(signal));
  }
  fleetwire
    .command('devices')
    .description('the device registry; without a verb: list')
    .addCommand(listDevicesCommand(signal), { isDefault: true })
    .addCommand(showDeviceCommand(signal))
    .addCommand(registerDeviceCommand(signal))
    .addCommand(patchDeviceCommand(signal))
    .addCommand(setDeviceStatusCommand(signal))
    .addCommand(retireDeviceCommand(signal));
  for (const command of [queuesCommand, sendCommand, deviceCommand, tailCommand, exportCommand, importCommand])
    fleetwire.addCommand(command(signal));
  fleetwire
    .command('keys')
    .description('manage signing keys')
    .addCommand(generateCommand())
    .addCommand(rotateCommand());
  fleetwire
    .command('token')
    .description('mint and inspect bearer tokens')
    .addCommand(mintCommand())
    .addCommand(inspectCommand());
  return fleetwire.addHelpText('after', help);
}
