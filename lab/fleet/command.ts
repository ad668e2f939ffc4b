import { parseClaims } from '@fleetwire/contracts/access';
import { Command, InvalidArgumentError, Option } from 'commander';
import { deviceIdOf } from './csv-replay.ts';
import { parseDuration } from '@fleetwire/contracts/timestamp';
import { type Settings, connectsPerSecond, simulate } from './simulate.ts';

export function simulatorCommand(): Command {
  return new Command('simulator')
    .description('Simulate a fleet of devices, or replay CSV files as devices.')
    .option('--url <url>', 'URL of ingest-ws', 'ws://127.0.0.1:8080/ws')
    .option('--http', 'send by POST /api/v1/telemetry instead of WebSocket', false)
    .addOption(
      new Option('--token <token>', 'one token for all devices: of an admin, or of the only device')
        .env('FLEETWIRE_TOKEN')
        .conflicts('keys'),
    )
    .option('--keys <file>', 'private JWK set; mint a token for each device')
    .option('--devices <n>', 'number of devices', whole(1), 10)
    .option('--prefix <text>', 'prefix of device ids; a number follows', 'sim-')
    .option('--rate <readings/s>', 'rate of each device; "max" sends as fast as acks arrive', rate, 1)
    .option('--batch <n>', 'maximum number of readings per frame (default: 1, with --csv 200)', whole(1))
    .option('--duplicates <share>', 'share of frames to send twice', share, 0)
    .option('--out-of-order <share>', 'share of readings with a timestamp up to an hour in the past', share, 0)
    .option('--malformed <share>', 'share of deliberately malformed frames', share, 0)
    .option('--seed <n>', 'seed of the random numbers; the same seed gives the same readings', whole(0), 1)
    .option('--ramp-up <time>', `time over which devices connect (default: ${connectsPerSecond} per second)`, duration)
    .option('--count <n>', 'number of readings of each device', whole(1))
    .option('--duration <time>', 'stop sending after this time, such as 30s or 5m', duration)
    .option('--buffer <n>', 'maximum number of unacknowledged readings that a device keeps', whole(1), 10_000)
    .addOption(
      new Option('--overflow <policy>', 'which reading to drop when the buffer is full')
        .choices(['drop-oldest', 'drop-newest'])
        .default('drop-oldest'),
    )
    .option('--csv <files...>', 'replay these files: a header, then lines of a timestamp and numeric columns')
    .option('--device <id>', 'with --csv: replay all files as this device (default: each file is a device)')
    .option('--epoch <epoch>', 'with --csv: boot identity (default: a hash of the content)')
    .option('--metric <name>', 'with --csv: name of the metric in a column called "value"', 'value')
    .option('--speed-up <x>', 'with --csv: factor over the original speed (default: as fast as acks arrive)', positive)
    .option('--settle-timeout <time>', 'time to wait at the end for outstanding acks', duration, 60_000)
    .option('--report-every <time>', 'interval between lines of progress', duration, 5_000)
    .option('--json', 'print the result as JSON; progress goes to stderr', false)
    .addHelpText(
      'after',
      '\nExit codes: 0 all readings acknowledged, or rejected as planned; 1 otherwise; 2 wrong usage; 3 like 0, but lines of a file were skipped.',
    )
    .action(async (settings: Settings, command: Command) => {
      const mistake = mistakeIn(settings);
      if (mistake !== undefined) command.error(`error: ${mistake}`);
      process.exitCode = await simulate(settings);
    });
}

/** Checks that involve several options. */
function mistakeIn({ url, csv = [], device, epoch }: Settings): string | undefined {
  if (!URL.canParse(url)) return `Invalid URL: ${url}`;
  const nameless = device === undefined ? csv.find((file) => !isDeviceId(deviceIdOf(file))) : undefined;
  if (nameless !== undefined) return `the file name of ${nameless} is not a valid device id; set one with --device`;
  if (device !== undefined && !isDeviceId(device)) return `"${device}" is not a valid device id`;
  if (device !== undefined && epoch !== undefined && csv.length > 1)
    return 'several files as one device in one epoch would share sequence numbers; omit --epoch';
  return undefined;
}

function isDeviceId(text: string): boolean {
  return parseClaims({ sub: text, role: 'device' }).ok;
}

function whole(min: number) {
  return (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && Number.isSafeInteger(value)) return value;
    throw new InvalidArgumentError(`It must be an integer of at least ${min}.`);
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
