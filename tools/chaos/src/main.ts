#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/simulator/command-line';
import { chaosCommand } from './command.ts';

const interrupted = new AbortController();
// Once: the second Ctrl-C ends the process as usual.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

await runCommandLine(chaosCommand(process.env, interrupted.signal), process.argv);
