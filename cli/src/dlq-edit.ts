import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { jsonFromInput, jsonObject } from './arguments.ts';
import { type Replay, replayText, untilSettled } from './dead-letters.ts';
import { action, print } from './output.ts';

type Settings = Connection & {
  readonly patch?: object | '-';
  readonly replacement?: object | '-';
  readonly note?: string;
  readonly wait: boolean;
};

export function dlqEditCommand(signal: AbortSignal): Command {
  const objectOrInput = (text: string) => (text === '-' ? text : jsonObject(text));
  const command = withConnection(
    new Command('edit')
      .description('edit a copy of a dead letter and replay it; the original is kept')
      .argument('<id>', 'the dead letter'),
  )
    .option('--patch <json>', 'merge patch (RFC 7396) on {ts, metrics}; - reads it from standard input', objectOrInput)
    .option('--replacement <json>', 'new {ts, metrics}; - reads it from standard input', objectOrInput)
    .option('--note <text>', 'why; kept in the history')
    .option('--wait', 'until it is known what became of it; exit code 1 where it failed again', false);

  return action(command, async (settings: Settings) => {
    const [id = ''] = command.args;
    const { patch, replacement, note, wait, json } = settings;
    if ((patch === undefined) === (replacement === undefined))
      command.error('error: give either --patch or --replacement');
    const given = async (value: Settings['patch']) => (value === '-' ? jsonFromInput() : value);
    const api = createApi(settings, signal);
    const started: Replay = await api.patch(`/dead-letters/${encodeURIComponent(id)}`, {
      patch: await given(patch),
      replacement: await given(replacement),
      note,
    });
    const replay = wait ? await untilSettled(api, started, signal) : started;
    print(replay, replayText(replay), json);
    if (replay.counts.failedAgain > 0) process.exitCode = 1;
  });
}
