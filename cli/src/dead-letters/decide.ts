import { answerOf } from '@fleetwire/client/client';
import { Command } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { action, print } from '../output.ts';
import { type SelectionSettings, selectionOf, withSelection } from './selection.ts';

interface Settings extends Connection, SelectionSettings {
  readonly why: string;
}

interface Decision {
  readonly verb: 'discard' | 'restore';
  readonly done: string;
  readonly description: string;
}

export function discardCommand(signal: AbortSignal): Command {
  const description = 'discard open dead letters; they are not replayed, and are deleted after the retention time';
  return decisionCommand({ verb: 'discard', done: 'discarded', description }, signal);
}

export function restoreCommand(signal: AbortSignal): Command {
  const description = 'reopen discarded dead letters; they can be replayed again';
  return decisionCommand({ verb: 'restore', done: 'restored', description }, signal);
}

function decisionCommand({ verb, done, description }: Decision, signal: AbortSignal): Command {
  const command = withSelection(withConnection(new Command(verb).description(description))).requiredOption(
    '--why <text>',
    'reason for the decision, kept in the history',
  );

  return action(command, async (settings: Settings) => {
    const api = createApi(settings, signal);
    const body = { ...selectionOf(command.args, settings), reason: settings.why };
    let count = 0;
    let isComplete = false;
    while (!isComplete) {
      const answer = await answerOf(api.POST(`/api/v1/dead-letters/${verb}`, { body }));
      count += answer.count;
      isComplete = answer.complete;
    }
    print({ count }, `${count} dead letters ${done}`, settings.json);
  });
}
