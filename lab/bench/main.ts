#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/cli/command-line';
import { benchCommand } from './command.ts';

await runCommandLine(benchCommand(), process.argv);
// A study that was interrupted is not waited for.
process.exit();
