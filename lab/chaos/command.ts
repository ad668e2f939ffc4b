import { writeFile } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { catalogue, faultsNamed } from './catalogue.ts';
import { type ChaosSettings, runChaos } from './chaos.ts';
import { reportText } from './report.ts';

const faultList = catalogue
  .map(({ name, component, what }) => `  ${name.padEnd(36)}${component.padEnd(22)}${what}`)
  .join('\n');

type Options = Omit<ChaosSettings, 'env' | 'signal' | 'say'> & { readonly json?: string };

/** @param signal ends the faults early; the run still heals, drains and audits */
export function chaosCommand(env: NodeJS.ProcessEnv, signal: AbortSignal): Command {
  return new Command('chaos')
    .description('break a complete platform under load, heal it, and audit that no acknowledged reading was lost')
    .addOption(
      new Option('--faults <list>', 'faults or components, separated by commas, or "all"')
        .argParser(faults)
        .default(faultsNamed(['all']), '"all"'),
    )
    .option('--minutes <n>', 'how long faults are injected', positive, 2)
    .option('--seed <n>', 'the same seed makes the same schedule', whole, 1)
    .option('--rate <readings/s>', 'rate of the whole fleet', positive, 500)
    .option('--devices <n>', 'number of devices', whole, 50)
    .addOption(
      new Option('--backing <where>', 'where RabbitMQ and Postgres come from')
        .choices(['native', 'containers', 'cluster'])
        .default('native'),
    )
    .option('--json <file>', 'write the report there')
    .addHelpText(
      'after',
      `\nFaults (name, component, what happens):\n${faultList}\n\nExit codes: 0 no breach; 1 at least one breach.`,
    )
    .action(async ({ json, ...settings }: Options) => {
      const report = await runChaos({ ...settings, env, signal, say: (line) => process.stdout.write(`${line}\n`) });
      process.stdout.write(`\n${reportText(report)}\n`);
      if (json !== undefined) await writeFile(json, `${JSON.stringify(report, undefined, 2)}\n`);
      process.exitCode = report.breaches.length === 0 ? 0 : 1;
    });
}

function faults(text: string) {
  try {
    return faultsNamed(text.split(','));
  } catch (error) {
    throw new InvalidArgumentError(String(error));
  }
}

function whole(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}
