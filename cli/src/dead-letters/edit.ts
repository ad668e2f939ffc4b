import { answerOf } from '@fleetwire/client/client';
import type { components } from '@fleetwire/client/openapi';
import { Command } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { jsonFromInput, jsonObject } from '../arguments.ts';
import { action, print } from '../output.ts';
import { replayText, untilSettled, waitDescription } from './replay.ts';

interface Settings extends Connection {
  readonly patch?: object | '-';
  readonly replacement?: object | '-';
  readonly note?: string;
  readonly wait: boolean;
}

export function editCommand(signal: AbortSignal): Command {
  const objectOrInput = (text: string) => (text === '-' ? text : jsonObject(text));
  const command = withConnection(
    new Command('edit')
      .description('replay an edited copy of a dead letter; the original is kept')
      .argument('<id>', 'id of the dead letter'),
  )
    .option('--patch <json>', 'merge patch (RFC 7396) of {ts, metrics}; - reads standard input', objectOrInput)
    .option('--replacement <json>', 'new {ts, metrics}; - reads standard input', objectOrInput)
    .option('--note <text>', 'reason for the edit, kept in the history')
    .option('--wait', waitDescription, false);

  return action(command, async (settings: Settings) => {
    const [id = ''] = command.args;
    const { patch, replacement, note, wait, json } = settings;
    if ((patch === undefined) === (replacement === undefined))
      command.error('error: give either --patch or --replacement');
    const given = async (value: Settings['patch']) => (value === '-' ? jsonFromInput() : value);
    const api = createApi(settings, signal);
    const body = { patch: await given(patch), replacement: await given(replacement), note };
    const started = await answerOf(
      api.PATCH('/api/v1/dead-letters/{id}', {
        params: { path: { id } },
        body: body as components['schemas']['DeadLetterEdit'],
      }),
    );
    const replay = wait ? await untilSettled(api, started, signal) : started;
    print(replay, replayText(replay), json);
    if (replay.counts.failedAgain > 0) process.exitCode = 1;
  });
}
