#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/cli/command-line';
import { benchCommand } from './command.ts';

await runCommandLine(benchCommand(), process.argv);
// Does not wait for an interrupted study.
process.exit();
