import { Command, InvalidArgumentError, Option } from 'commander';
import { type BenchSettings, type StudyName, bench, studyNames, defaultStudies } from './bench.ts';

export function benchCommand(): Command {
  return new Command('bench')
    .description(
      'Measure throughput, latency, memory and disk space of the whole platform, beside what its database, broker and sockets can do alone.',
    )
    .option(
      '--only <list>',
      `run only these studies, separated by commas: ${studyNames.join(', ')}`,
      studyList,
      defaultStudies,
    )
    .option('--runs <n>', 'number of runs; medians are reported', whole, 5)
    .option('--seconds <n>', 'duration of each measurement under load', whole, 8)
    .option('--devices <n>', 'number of sockets', whole, 300)
    .option('--in-flight <n>', 'readings in flight per socket', whole, 40)
    .option('--frames <list>', 'readings per frame, separated by commas', list, [1, 20])
    .addOption(
      new Option('--backing <mode>', 'start RabbitMQ and Postgres as native processes or as containers')
        .choices(['auto', 'native', 'containers'])
        .default('auto'),
    )
    .option('--out <file>', 'write the JSON file here (default: .fleetwire/bench/<time>.json)')
    .option(
      '--profile <folder>',
      'write a CPU profile (.cpuprofile) of each service into this folder; slows the services down',
    )
    .option('--assert', 'exit with code 1 when a bar is missed', false)
    .action(async ({ assert, ...settings }: BenchSettings & { readonly assert: boolean }) => {
      const isPassed = await bench(settings);
      if (assert && !isPassed) process.exitCode = 1;
    });
}

function whole(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be an integer of at least 1.');
}

function studyList(text: string): StudyName[] {
  return text.split(',').map((name) => {
    const found = studyNames.find((known) => known === name);
    if (found === undefined)
      throw new InvalidArgumentError(`There is no study "${name}"; choose from ${studyNames.join(', ')}.`);
    return found;
  });
}

function list(text: string): number[] {
  return text.split(',').map(whole);
}
