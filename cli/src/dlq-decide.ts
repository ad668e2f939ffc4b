import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { type ChoiceSettings, choiceOf, withChoice } from './dead-letters.ts';
import { action, print } from './output.ts';

type Settings = Connection & ChoiceSettings & { readonly why: string };

/** Discarding and restoring differ in their name alone. */
export function dlqDecideCommand(
  { verb, done, description }: { readonly verb: string; readonly done: string; readonly description: string },
  signal: AbortSignal,
): Command {
  const command = withChoice(withConnection(new Command(verb).description(description))).requiredOption(
    '--why <text>',
    'kept in the history',
  );

  return action(command, async (settings: Settings) => {
    const api = createApi(settings, signal);
    const body = { ...choiceOf(command.args, settings), reason: settings.why };
    let count = 0;
    let isComplete = false;
    while (!isComplete) {
      const answer: { count: number; complete: boolean } = await api.post(`/dead-letters/${verb}`, body);
      count += answer.count;
      isComplete = answer.complete;
    }
    print({ count }, `${count} dead letters ${done}`, settings.json);
  });
}
