#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/cli/command-line';
import { simulatorCommand } from './command.ts';

await runCommandLine(simulatorCommand(), process.argv);
