import { Command, InvalidArgumentError, Option } from 'commander';
import { type BenchSettings, type StudyName, bench, studyNames, usualStudies } from './bench.ts';

export function benchCommand(): Command {
  return new Command('bench')
    .description('Measures the whole way of a reading, and beside it what database and broker could do by themselves.')
    .option('--only <list>', `what to study, with commas: ${studyNames.join(', ')}`, studyList, usualStudies)
    .option('--runs <n>', 'how often everything is measured; the medians count', whole, 5)
    .option('--seconds <n>', 'length of each measurement under load', whole, 8)
    .option('--devices <n>', 'sockets', whole, 300)
    .option('--in-flight <n>', 'readings in flight on each socket', whole, 40)
    .option('--frames <list>', 'readings a frame, with commas', list, [1, 20])
    .addOption(
      new Option('--backing <mode>', 'where RabbitMQ and Postgres come from')
        .choices(['auto', 'native', 'containers'])
        .default('auto'),
    )
    .option('--out <file>', 'JSON file (default: .fleetwire/bench/<time>.json)')
    .option(
      '--profile <folder>',
      'write a CPU profile (.cpuprofile) of each service into this folder; slows the services down',
    )
    .option('--assert', 'exit code 1 when a bar is missed', false)
    .action(async ({ assert, ...settings }: BenchSettings & { readonly assert: boolean }) => {
      const isPassed = await bench(settings);
      if (assert && !isPassed) process.exitCode = 1;
    });
}

function whole(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

function studyList(text: string): StudyName[] {
  return text.split(',').map((name) => {
    const found = studyNames.find((known) => known === name);
    if (found === undefined)
      throw new InvalidArgumentError(`There is no "${name}"; there are ${studyNames.join(', ')}.`);
    return found;
  });
}

function list(text: string): number[] {
  return text.split(',').map(whole);
}
