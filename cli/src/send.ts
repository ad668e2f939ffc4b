import { answerOf } from '@fleetwire/client/client';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { jsonFromInput } from './arguments.ts';
import { action, print } from './output.ts';

interface Settings extends Connection {
  readonly ingestUrl?: string;
  readonly device?: string;
  readonly epoch?: string;
  readonly seq?: number;
  readonly ts?: string;
}

const localIngest = 'http://127.0.0.1:8080';

export function sendCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('send')
      .description(
        'send a reading, or readings as JSON from standard input; returns after the broker has confirmed them',
      )
      .argument('<metrics...>', 'name=value pairs, values as JSON or text; or - for a JSON body from standard input'),
  )
    .addOption(ingestOption())
    .option('--device <id>', 'device id; not needed with a device token')
    .option('--epoch <text>', 'boot of the device that --seq counts in')
    .option(
      '--seq <n>',
      'sequence number within the epoch; without it, the server numbers the readings',
      sequenceNumber,
    )
    .option('--ts <time>', 'device time: RFC 3339 (default: now)');

  return action(command, async (settings: Settings) => {
    const { device: deviceId, epoch, seq, ts = new Date().toISOString(), token, json } = settings;
    const isFromInput = command.args.length === 1 && command.args[0] === '-';
    const body = isFromInput
      ? await jsonFromInput()
      : { deviceId, epoch, seq, ts, metrics: Object.fromEntries(command.args.map((text) => metric(text, command))) };
    const api = createApi({ url: ingestUrlOf(settings, command), ...(token !== undefined && { token }) }, signal);
    const accepted = await answerOf(api.POST('/api/v1/telemetry', { body: body as never }));
    const streams = accepted.streams.map(
      ({ deviceId: device, epoch: boot, firstSeq, lastSeq }) =>
        `  ${device} ${boot} ${firstSeq === lastSeq ? firstSeq : `${firstSeq} to ${lastSeq}`}`,
    );
    const summary = `${accepted.accepted} ${accepted.accepted === 1 ? 'reading' : 'readings'} accepted`;
    print(accepted, [summary, ...streams].join('\n'), json);
  });
}

/** For commands that send readings. */
export function ingestOption(): Option {
  return new Option('--ingest-url <url>', `URL of ingest-ws (default: --url if given, else ${localIngest})`).env(
    'FLEETWIRE_INGEST_URL',
  );
}

export function ingestUrlOf(settings: Pick<Settings, 'ingestUrl' | 'url'>, command: Command): string {
  const isElsewhere = command.getOptionValueSource('url') !== 'default';
  return settings.ingestUrl ?? (isElsewhere ? settings.url : localIngest);
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
