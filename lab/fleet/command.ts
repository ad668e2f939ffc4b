import { parseClaims } from '@fleetwire/contracts/access';
import { Command, InvalidArgumentError, Option } from 'commander';
import { deviceIdOf } from './csv-replay.ts';
import { parseDuration } from '@fleetwire/contracts/timestamp';
import { type Settings, connectsPerSecond, simulate } from './simulate.ts';

export function simulatorCommand(): Command {
  return new Command('simulator')
    .description('Simulates a fleet of devices, or replays CSV files as devices.')
    .option('--url <url>', 'where devices connect', 'ws://127.0.0.1:8080/ws')
    .option('--http', 'send by POST /api/v1/telemetry instead of WebSocket', false)
    .addOption(
      new Option('--token <token>', "token for all devices: an admin's, or the one device's")
        .env('FLEETWIRE_TOKEN')
        .conflicts('keys'),
    )
    .option('--keys <file>', 'private JWK set: each device gets a token of its own')
    .option('--devices <n>', 'devices of the fleet', whole(1), 10)
    .option('--prefix <text>', 'device ids are this with a number', 'sim-')
    .option('--rate <readings/s>', 'of each device; "max" is as fast as the acks come', rate, 1)
    .option('--batch <n>', 'readings a frame at most (default: 1, with --csv 200)', whole(1))
    .option('--duplicates <share>', 'of frames sent twice', share, 0)
    .option('--out-of-order <share>', 'of readings with a time up to an hour back', share, 0)
    .option('--malformed <share>', 'of frames that are bad on purpose', share, 0)
    .option('--seed <n>', 'the same seed measures the same', whole(0), 1)
    .option('--ramp-up <time>', `time over which devices connect (default: ${connectsPerSecond} a second)`, duration)
    .option('--count <n>', 'readings of each device', whole(1))
    .option('--duration <time>', 'such as 30s or 5m', duration)
    .option('--buffer <n>', 'readings a device keeps while they are not acked', whole(1), 10_000)
    .addOption(
      new Option('--overflow <policy>', 'when that is full')
        .choices(['drop-oldest', 'drop-newest'])
        .default('drop-oldest'),
    )
    .option('--csv <files...>', 'replay files: a time, then numeric columns, with a header')
    .option('--device <id>', 'with --csv: one device for all files (default: each file is a device)')
    .option('--epoch <epoch>', 'with --csv: boot identity (default: made from the content)')
    .option('--metric <name>', 'with --csv: name for a column called "value"', 'value')
    .option('--speed-up <x>', 'with --csv: times faster than it happened (default: as fast as the acks come)', positive)
    .option('--settle-timeout <time>', 'how long to wait at the end for what is not acked', duration, 60_000)
    .option('--report-every <time>', 'time between lines of progress', duration, 5_000)
    .option('--json', 'print the result as JSON; progress goes to stderr', false)
    .addHelpText(
      'after',
      '\nExit codes: 0 all acked, or refused as planned; 1 not so; 2 wrong usage; 3 as 0, but lines of a file were skipped.',
    )
    .action(async (settings: Settings, command: Command) => {
      const mistake = mistakeIn(settings);
      if (mistake !== undefined) command.error(`error: ${mistake}`);
      process.exitCode = await simulate(settings);
    });
}

/** What no single option shows. */
function mistakeIn({ url, csv = [], device, epoch }: Settings): string | undefined {
  if (!URL.canParse(url)) return `Invalid URL: ${url}`;
  const nameless = device === undefined ? csv.find((file) => !isDeviceId(deviceIdOf(file))) : undefined;
  if (nameless !== undefined) return `the name of ${nameless} is no device id; give one with --device`;
  if (device !== undefined && !isDeviceId(device)) return `"${device}" is no device id`;
  if (device !== undefined && epoch !== undefined && csv.length > 1)
    return 'several files as one device in one epoch would share their numbers; leave out --epoch';
  return undefined;
}

function isDeviceId(text: string): boolean {
  return parseClaims({ sub: text, role: 'device' }).ok;
}

function whole(min: number) {
  return (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && Number.isSafeInteger(value)) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min}.`);
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

function rate(text: string): number {
  return text === 'max' ? Number.POSITIVE_INFINITY : positive(text);
}

function share(text: string): number {
  const value = Number(text);
  if (text !== '' && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('It must be between 0 and 1.');
}

function duration(text: string): number {
  const value = parseDuration(text);
  if (value !== undefined) return value;
  throw new InvalidArgumentError('It must be a time such as 500ms, 30s or 5m.');
}
