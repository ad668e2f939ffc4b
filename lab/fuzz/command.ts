import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { Command, InvalidArgumentError, Option } from 'commander';
import { runFuzz, subjectNames } from './fuzz.ts';
import { reportText } from './report.ts';

interface Options {
  readonly seed: number;
  readonly minutes?: number;
  readonly inputs?: number;
  readonly only?: string;
  readonly path?: string;
  readonly backing: 'auto' | 'native' | 'containers';
}

const minutesDefault = 2;
const hangMs = 5_000;

/** @param signal ends the inputs early; what was acknowledged is still compared with the tables */
export function fuzzCommand(env: NodeJS.ProcessEnv, signal: AbortSignal): Command {
  return new Command('fuzz')
    .description('send hostile input to both HTTP services and the device protocol, and check that nothing breaks')
    .option('--seed <n>', 'the same seed makes the same inputs', whole, 1)
    .option(
      '--minutes <n>',
      `how long inputs are sent (default: ${minutesDefault}, unless --inputs is given)`,
      positive,
    )
    .option('--inputs <n>', 'how many inputs are sent', whole)
    .addOption(new Option('--only <subject>', 'send inputs of this kind only').choices(subjectNames))
    .option('--path <path>', 'repeat one input of --only: the path that a failure was reported with, beside its seed')
    .addOption(
      new Option('--backing <where>', 'where RabbitMQ and Postgres come from')
        .choices(['auto', 'native', 'containers'])
        .default('native'),
    )
    .addHelpText(
      'after',
      `\nExit codes: 0 no failure; 1 an answer 5xx, a crash, an answer later than ${hangMs / 1_000} s, or an acknowledged reading that is not stored.`,
    )
    .action(async ({ backing: mode, minutes, inputs, ...settings }: Options, command: Command) => {
      if (settings.path !== undefined && settings.only === undefined) command.error('error: --path needs --only');
      const say = (line: string) => void process.stdout.write(`${line}\n`);
      const dataDir = await mkdtemp(join(tmpdir(), 'fleetwire-fuzz-'));
      await using servers = await startBackingServices({ mode, dataDir, temporary: true, env, log: say });
      const report = await runFuzz({
        ...settings,
        inputsMax: inputs ?? Infinity,
        durationMs: (minutes ?? (inputs === undefined ? minutesDefault : Infinity)) * 60_000,
        hangMs,
        quietMs: 5_000,
        servers,
        logDir: `${dataDir}-logs`,
        signal,
        say,
      });
      say(`\n${reportText(report)}`);
      process.exitCode = report.failures.length === 0 ? 0 : 1;
    });
}

function whole(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError('It must be a whole number.');
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}
