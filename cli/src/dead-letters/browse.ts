import { answerOf } from '@fleetwire/client/client';
import type { components, paths } from '@fleetwire/client/openapi';
import { Command } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { positiveInteger } from '../arguments.ts';
import { action, print, printable, shortened, table } from '../output.ts';
import { type FilterSettings, filterOf, withFilter } from './selection.ts';

interface ListSettings extends Connection, FilterSettings {
  readonly limit: number;
}

type LettersQuery = NonNullable<paths['/api/v1/dead-letters']['get']['parameters']['query']>;
type DeadLetter = components['schemas']['DeadLetter'];
type DeadLetterGroup = components['schemas']['DeadLetterGroup'];
type Details = components['schemas']['DeadLetterDetails'];

const pageMax = 1_000;

export function listCommand(signal: AbortSignal): Command {
  const command = withFilter(withConnection(new Command('ls').description('list dead letters, newest first'))).option(
    '--limit <n>',
    'maximum number of dead letters',
    positiveInteger,
    50,
  );

  return action(command, async (settings: ListSettings) => {
    const api = createApi(settings, signal);
    const letters: DeadLetter[] = [];
    let next: string | null | undefined;
    do {
      const limit = Math.min(pageMax, settings.limit - letters.length);
      const query = { ...filterOf(settings), limit, ...(next && { cursor: next }) } as LettersQuery;
      const { data, page } = await answerOf(api.GET('/api/v1/dead-letters', { params: { query } }));
      letters.push(...data);
      next = page.next;
    } while (next !== null && letters.length < settings.limit);
    const more = next === null ? '' : '\nthere are more: raise --limit';
    print({ data: letters, complete: next === null }, `${listText(letters)}${more}`, settings.json);
  });
}

export function groupsCommand(signal: AbortSignal): Command {
  const command = withFilter(
    withConnection(new Command('groups').description('count dead letters by kind of failure, most frequent first')),
  ).option('--limit <n>', 'maximum number of groups', positiveInteger, 50);

  return action(command, async (settings: ListSettings) => {
    const query = { ...filterOf(settings), limit: settings.limit } as LettersQuery;
    const api = createApi(settings, signal);
    const groups = await answerOf(api.GET('/api/v1/dead-letters/groups', { params: { query } }));
    print(groups, groupsText(groups.data), settings.json);
  });
}

export function showCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('show')
      .description('show one dead letter: its content, the error, and its history')
      .argument('<id>', 'id of the dead letter'),
  );

  return action(command, async (settings: Connection) => {
    const [id = ''] = command.args;
    const api = createApi(settings, signal);
    const letter = await answerOf(api.GET('/api/v1/dead-letters/{id}', { params: { path: { id } } }));
    print(letter, detailsText(letter), settings.json);
  });
}

function listText(letters: readonly DeadLetter[]): string {
  if (letters.length === 0) return 'no dead letters';
  return table(
    ['ID', 'LAST FAILED', 'STATUS', 'REASON', 'DEVICE', 'SEQ', 'REPEATED', 'ERROR'],
    letters.map(({ id, lastFailedAt, status, reason, deviceId, seq, repeated, error }) => [
      id,
      lastFailedAt,
      status,
      reason,
      deviceId,
      seq,
      repeated,
      shortened(`${error.code} ${error.message}`, 60),
    ]),
  );
}

function groupsText(data: readonly DeadLetterGroup[]): string {
  if (data.length === 0) return 'no dead letters';
  return table(
    ['FINGERPRINT', 'COUNT', 'OPEN', 'REPEATED', 'DEVICES', 'REASON', 'FIRST SEEN', 'LAST SEEN', 'EXAMPLE', 'ERROR'],
    data.map(({ fingerprint, count, byStatus, repeated, devices, reason, firstSeenAt, lastSeenAt, example }) => [
      fingerprint,
      count,
      byStatus.open,
      repeated,
      devices,
      reason,
      firstSeenAt,
      lastSeenAt,
      example.id,
      shortened(example.message, 60),
    ]),
  );
}

function detailsText(letter: Details): string {
  const { payload, history, error } = letter;
  const content = payload.json === undefined ? payload.preview : JSON.stringify(payload.json, undefined, 2);
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
    ...content.split('\n').map((line) => `  ${line}`),
    history.length === 0 ? 'history      no action yet' : 'history',
    ...history.map(({ at, actor, action: done, details }) => `  ${at}  ${actor}  ${done}  ${JSON.stringify(details)}`),
  ];
  return lines.map(printable).join('\n');
}
