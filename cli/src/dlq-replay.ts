import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { positiveInteger, positiveNumber } from './arguments.ts';
import { type ChoiceSettings, choiceOf, type Replay, replayText, untilSettled, withChoice } from './dead-letters.ts';
import { action, print } from './output.ts';

type Settings = Connection &
  ChoiceSettings & {
    readonly dryRun: boolean;
    readonly rate?: number;
    readonly max?: number;
    readonly wait: boolean;
  };

export function dlqReplayCommand(signal: AbortSignal): Command {
  const command = withChoice(withConnection(new Command('replay').description('publish dead letters again')))
    .option('--dry-run', 'only count what would be published', false)
    .option('--rate <n>', 'dead letters in a second', positiveNumber)
    .option('--max <n>', 'dead letters at most', positiveInteger)
    .option('--wait', 'until it is known what became of all; exit code 1 where any failed again', false);

  return action(command, async (settings: Settings) => {
    const { dryRun, rate: ratePerSecond, max, wait, json } = settings;
    const api = createApi(settings, signal);
    const choice = choiceOf(command.args, settings);
    const started: Replay = await api.post('/dead-letters/replays', { ...choice, dryRun, ratePerSecond, max });
    const replay = wait ? await untilSettled(api, started, signal) : started;
    print(replay, dryRun ? `${replay.counts.matched} dead letters would be published` : replayText(replay), json);
    if (replay.counts.failedAgain > 0) process.exitCode = 1;
  });
}
