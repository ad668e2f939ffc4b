import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import type { DeadLetter } from './dead-letters.ts';
import { action, print, printable } from './output.ts';

interface Details extends DeadLetter {
  readonly receivedAt: string | null;
  readonly headers: object;
  readonly payload: {
    readonly encoding: string;
    readonly bytes: number;
    readonly json?: unknown;
    readonly preview: string;
    readonly truncated: boolean;
  };
  readonly history: readonly { at: string; actor: string; action: string; replayId: string | null; details: object }[];
}

export function dlqShowCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('show')
      .description('everything about one dead letter: what it holds, why it failed, what was done to it')
      .argument('<id>', 'the dead letter'),
  );

  return action(command, async (settings: Connection) => {
    const [id = ''] = command.args;
    const letter: Details = await createApi(settings, signal).get(`/dead-letters/${encodeURIComponent(id)}`);
    print(letter, detailsText(letter), settings.json);
  });
}

function detailsText(letter: Details): string {
  const { payload, history, error } = letter;
  const what = payload.json === undefined ? payload.preview : JSON.stringify(payload.json, undefined, 2);
  const lines = [
    `id           ${letter.id}`,
    `status       ${letter.status}${letter.repeated > 0 ? `, failed again ${letter.repeated} times` : ''}`,
    `reason       ${letter.reason}`,
    `error        ${error.code}: ${error.message}`,
    `fingerprint  ${letter.fingerprint}`,
    `identity     device ${letter.deviceId ?? '-'}, epoch ${letter.epoch ?? '-'}, seq ${letter.seq ?? '-'}`,
    `failed       ${letter.firstFailedAt} to ${letter.lastFailedAt}, ${letter.attempts} attempts`,
    `received     ${letter.receivedAt ?? 'unknown'}`,
    `headers      ${JSON.stringify(letter.headers)}`,
    `payload      ${payload.bytes} bytes${payload.json === undefined ? ', not JSON' : ''}${payload.truncated ? ', cut off' : ''}`,
    ...what.split('\n').map((line) => `  ${line}`),
    history.length === 0 ? 'history      nothing was done to it yet' : 'history',
    ...history.map(({ at, actor, action: done, details }) => `  ${at}  ${actor}  ${done}  ${JSON.stringify(details)}`),
  ];
  return lines.map(printable).join('\n');
}
