import type { Command } from 'commander';
import { dlqDecideCommand } from './dlq-decide.ts';

export function dlqRestoreCommand(signal: AbortSignal): Command {
  return dlqDecideCommand(
    { verb: 'restore', done: 'restored', description: 'open discarded dead letters again' },
    signal,
  );
}
