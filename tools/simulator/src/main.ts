#!/usr/bin/env node
import { runCommandLine } from './command-line.ts';
import { simulatorCommand } from './command.ts';

await runCommandLine(simulatorCommand(), process.argv);
