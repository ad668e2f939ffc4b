import type { Command } from 'commander';
import { dlqDecideCommand } from './dlq-decide.ts';

export function dlqDiscardCommand(signal: AbortSignal): Command {
  const description = 'put open dead letters aside: they are not replayed, and forgotten in time';
  return dlqDecideCommand({ verb: 'discard', done: 'discarded', description }, signal);
}
