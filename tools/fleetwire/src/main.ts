#!/usr/bin/env node
import { runCommandLine } from '@fleetwire/simulator/command-line';
import { fleetwireCommand } from './fleetwire-command.ts';

await runCommandLine(fleetwireCommand(), process.argv);
