#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/cli/command-line';
import { chaosCommand } from './command.ts';

const [interrupted, abandoned] = [new AbortController(), new AbortController()];
// In both cases the servers that were started are stopped before this process exits.
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => (interrupted.signal.aborted ? abandoned : interrupted).abort());

await runCommandLine(chaosCommand(process.env, interrupted.signal, abandoned.signal), process.argv);
