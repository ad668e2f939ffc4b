import { writeFile } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { catalogue, faultsNamed } from './catalogue.ts';
import { type ChaosSettings, runChaos } from './chaos.ts';
import { mutantTable, runMutants } from './mutant-run.ts';
import { type Mutant, mutants, mutantsNamed } from './mutants.ts';
import { reportText } from './report.ts';

const faultList = catalogue
  .map(({ name, component, what }) => `  ${name.padEnd(36)}${component.padEnd(22)}${what}`)
  .join('\n');

const mutantList = mutants.map(({ name, what }) => `  ${name.padEnd(36)}${what}`).join('\n');

type Options = Omit<ChaosSettings, 'env' | 'signal' | 'abandoned' | 'say'> & {
  readonly json?: string;
  /** `true`: all of them. */
  readonly mutants?: readonly Mutant[] | true;
};

/**
 * @param signal ends the faults early; the run still heals, drains and audits
 * @param abandoned ends the run without an audit
 */
export function chaosCommand(env: NodeJS.ProcessEnv, signal: AbortSignal, abandoned: AbortSignal): Command {
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
    .addOption(
      new Option(
        '--mutants [list]',
        'plant faults in copies of the repository, one after the other, and show what notices each; no chaos run of its own',
      ).argParser(mutantsOf),
    )
    .option('--json <file>', 'write the report there')
    .addHelpText(
      'after',
      `\nFaults (name, component, what happens):\n${faultList}\n\nMutants (name, what the changed program does wrong):\n${mutantList}\n\nExit codes: 0 no breach, or every mutant was noticed by tests and chaos; 1 otherwise.`,
    )
    .action(async ({ json, mutants: chosen, ...settings }: Options) => {
      const say = (line: string) => void process.stdout.write(`${line}\n`);
      if (chosen !== undefined) {
        const results = await runMutants(chosen === true ? mutants : chosen, { seed: settings.seed, env, signal, say });
        say(`\n${mutantTable(results)}`);
        if (json !== undefined) await writeFile(json, `${JSON.stringify(results, undefined, 2)}\n`);
        process.exitCode = results.every(({ tests, chaos }) => tests.by !== undefined && chaos.by !== undefined)
          ? 0
          : 1;
        return;
      }
      const report = await runChaos({ ...settings, env, signal, abandoned, say });
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

function mutantsOf(text: string) {
  try {
    return mutantsNamed(text.split(',').map((name) => name.trim()));
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
