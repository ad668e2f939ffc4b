#!/usr/bin/env node
import { runCommandLine } from './command-line.ts';
import { fleetwireCommand } from './fleetwire-command.ts';

const stopping = new AbortController();
process.once('SIGINT', () => stopping.abort(new Error('interrupted')));
await runCommandLine(fleetwireCommand(stopping.signal), process.argv);
