#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/simulator/command-line';
import { scalingCommand } from './command.ts';

await runCommandLine(scalingCommand(), process.argv);
