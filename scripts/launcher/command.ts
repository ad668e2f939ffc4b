import { resolve } from 'node:path';
import type { BackingMode } from '@fleetwire/platform/servers/backing-services';
import { Command, InvalidArgumentError, Option } from 'commander';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const repositoryRoot = fileURLToPath(new URL('../..', import.meta.url));

export interface LauncherOptions {
  simulator: boolean;
  open: boolean;
  data: string;
  csv?: string[];
  backing: BackingMode;
  watch: boolean;
  nginx: boolean;
}

/** @param calledFrom the folder that relative paths refer to; npm changes into the repository before it runs a script */
export function launcherCommand(calledFrom: string): Command {
  const fromThere = (path: string) => resolve(calledFrom, path);
  const existing = (path: string, before: string[] = []) => {
    if (!existsSync(fromThere(path))) throw new InvalidArgumentError('There is no such file.');
    return [...before, fromThere(path)];
  };
  return new Command('npm start --')
    .description('run Fleetwire on this machine: RabbitMQ, Postgres, the three services, nginx and a simulated fleet')
    .option('--no-simulator', 'start without the simulated fleet')
    .option('--open', 'require no tokens; everything listens on loopback only', false)
    .option('--data <dir>', 'folder of the data, logs and keys', fromThere, resolve(repositoryRoot, '.fleetwire/data'))
    .option('--csv <files...>', 'replay these files as devices instead of the simulated fleet', existing)
    .addOption(
      new Option('--backing <kind>', 'where RabbitMQ, Postgres and nginx come from')
        .choices(['auto', 'native', 'containers'] satisfies BackingMode[])
        .default('auto'),
    )
    .option('--no-nginx', 'start without nginx: the services have no common address, only their own ports')
    .option('--watch', 'restart a service when its sources change (npm run dev)', false)
    .allowExcessArguments(false);
}
