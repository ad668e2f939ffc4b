#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/cli/command-line';
import { scalingCommand } from './command.ts';

await runCommandLine(scalingCommand(), process.argv);
