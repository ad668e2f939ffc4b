#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/cli/command-line';
import { fuzzCommand } from './command.ts';

const interrupted = new AbortController();
// Further signals change nothing: the servers that were started must be stopped before this process exits.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

await runCommandLine(fuzzCommand(process.env, interrupted.signal), process.argv);
