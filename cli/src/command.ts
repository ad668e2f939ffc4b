import { answerOf } from '@fleetwire/client/client';
import type { components } from '@fleetwire/client/openapi';
import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { jsonValue, positiveInteger } from './arguments.ts';
import { action, print, printable } from './output.ts';

interface Settings extends Connection {
  readonly args?: unknown;
  readonly timeoutMs?: number;
  readonly whenOnline: boolean;
  readonly expiresAt?: string;
  readonly wait: number;
}

type SentCommand = components['schemas']['Command'];

const waitSecondsDefault = 10;
const failedStates: ReadonlySet<string> = new Set(['failed', 'timed-out', 'expired', 'cancelled']);

export function deviceCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('command')
      .description('send a command to a device and wait for its result; exits with 1 when it fails')
      .argument('<device>', 'device id')
      .argument('<name>', 'name of the command'),
  )
    .option('--args <json>', 'arguments of the command: any JSON', jsonValue)
    .option('--timeout-ms <n>', 'how long the device may take to answer', positiveInteger)
    .option('--when-online', 'keep the command until the device connects', false)
    .option('--expires-at <time>', 'with --when-online: until when it may be sent, such as now+2h')
    .option('--wait <seconds>', 'how long to wait for the result', positiveInteger, waitSecondsDefault);

  return action(command, async ({ json, wait, whenOnline, ...settings }: Settings) => {
    const [deviceId = '', name] = command.args;
    const { args, timeoutMs, expiresAt } = settings;
    const body = { command: name, args, timeoutMs, expiresAt, ...(whenOnline && { mode: 'when-online' }) };
    const api = createApi(settings, signal);
    const sent = await answerOf(
      api.POST('/api/v1/devices/{id}/commands', {
        params: { path: { id: deviceId }, header: { prefer: `wait=${wait}` } },
        body: body as components['schemas']['CommandRequest'],
      }),
    );
    if (failedStates.has(sent.state)) process.exitCode = 1;
    print(sent, summaryOf(sent), json);
  });
}

function summaryOf({ id, deviceId, state, result, error }: SentCommand): string {
  const lines = [`command ${id} to ${deviceId}: ${state}`];
  if (result !== undefined && result !== null) lines.push(`  ${printable(JSON.stringify(result))}`);
  if (error !== undefined && error !== null)
    lines.push(`  ${printable([error.code, error.message].filter((text) => text !== undefined).join(': '))}`);
  return lines.join('\n');
}
