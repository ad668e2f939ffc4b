import type { TelemetryAccepted } from '@fleetwire/contracts/telemetry-http';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { jsonFromInput } from './arguments.ts';
import { action, print } from './output.ts';

type Settings = Connection & {
  readonly ingestUrl?: string;
  readonly device?: string;
  readonly epoch?: string;
  readonly seq?: number;
  readonly ts?: string;
};

const localIngest = 'http://127.0.0.1:8080';

export function sendCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('send')
      .description('send a reading, or a JSON body of readings from standard input; ends when the broker has it')
      .argument('<metrics...>', 'name=value …, values as JSON or text; or - for a body from standard input'),
  )
    .addOption(
      new Option(
        '--ingest-url <url>',
        `where ingest-ws answers (default: --url where that is given, else ${localIngest})`,
      ).env('FLEETWIRE_INGEST_URL'),
    )
    .option('--device <id>', 'the device; a device token knows it')
    .option('--epoch <text>', 'its boot')
    .option('--seq <n>', 'number within the boot; without, the server numbers', sequenceNumber)
    .option('--ts <time>', 'device time: RFC 3339 (default: now)');

  return action(command, async (settings: Settings) => {
    const { device: deviceId, epoch, seq, ts = new Date().toISOString(), token, json } = settings;
    const isFromInput = command.args.length === 1 && command.args[0] === '-';
    const body = isFromInput
      ? await jsonFromInput()
      : { deviceId, epoch, seq, ts, metrics: Object.fromEntries(command.args.map((text) => metric(text, command))) };
    const isElsewhere = command.getOptionValueSource('url') !== 'default';
    const url = settings.ingestUrl ?? (isElsewhere ? settings.url : localIngest);
    const api = createApi({ url, ...(token !== undefined && { token }) }, signal);
    const accepted: TelemetryAccepted = await api.post('/telemetry', body);
    const streams = accepted.streams.map(
      ({ deviceId: device, epoch: boot, firstSeq, lastSeq }) =>
        `  ${device} ${boot} ${firstSeq === lastSeq ? firstSeq : `${firstSeq} to ${lastSeq}`}`,
    );
    print(accepted, [`${accepted.accepted} readings are safe`, ...streams].join('\n'), json);
  });
}

function metric(text: string, command: Command): [string, unknown] {
  const at = text.indexOf('=');
  if (at < 1) command.error(`error: "${text}" is not name=value`);
  const [name, value] = [text.slice(0, at), text.slice(at + 1)];
  try {
    return [name, JSON.parse(value)];
  } catch {
    return [name, value];
  }
}

function sequenceNumber(text: string): number {
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 0.');
}
