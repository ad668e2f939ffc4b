import { Command } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { type Replay, replayText } from './dead-letters.ts';
import { action, print } from './output.ts';

export function dlqCancelCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('cancel')
      .description('stop a replay; what is published already goes its way')
      .argument('<id>', 'the replay'),
  );

  return action(command, async (settings: Connection) => {
    const [id = ''] = command.args;
    const path = `/dead-letters/replays/${encodeURIComponent(id)}/cancel`;
    const replay: Replay = await createApi(settings, signal).post(path, {});
    print(replay, replayText(replay), settings.json);
  });
}
