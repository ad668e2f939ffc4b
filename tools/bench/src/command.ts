import { Command, InvalidArgumentError, Option } from 'commander';
import { type BenchSettings, bench } from './bench.ts';

export function benchCommand(): Command {
  return new Command('bench')
    .description('Measures the whole way of a reading, and beside it what database and broker could do by themselves.')
    .option('--runs <n>', 'rounds; the medians count', whole, 3)
    .option('--seconds <n>', 'length of each measurement', whole, 10)
    .option('--devices <n>', 'sockets', whole, 300)
    .option('--in-flight <n>', 'readings in flight on each socket', whole, 40)
    .option('--frames <list>', 'readings a frame, with commas', list, [1, 20])
    .addOption(
      new Option('--backing <mode>', 'where RabbitMQ and Postgres come from')
        .choices(['auto', 'native', 'containers'])
        .default('auto'),
    )
    .option('--out <file>', 'JSON file (default: .fleetwire/bench/<time>.json)')
    .option('--assert', 'exit code 1 when a bar is missed', false)
    .action(async (settings: BenchSettings) => {
      const isPassed = await bench(settings);
      if (settings.assert && !isPassed) process.exitCode = 1;
    });
}

function whole(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

function list(text: string): number[] {
  return text.split(',').map(whole);
}
