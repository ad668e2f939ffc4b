import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { processTree, untilGone } from '@fleetwire/platform/processes/process-tree';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, inject, it } from 'vitest';
import { findBrowser } from '../../scripts/browser.mjs';

const kind = inject('backingKind');
const startTimeoutMs = 300_000;
const endTimeoutMs = 60_000;
const repeatMs = 50;

it
  .skipIf(kind === 'given')
  .each([
    { tool: 'bench/main.ts', args: ['--only', 'reconnect', '--runs', '1'], begins: /^reconnect:$/m },
    { tool: 'chaos/main.ts', args: ['--minutes', '1'], begins: /devices send/ },
    ...(findBrowser() === undefined
      ? []
      : [{ tool: 'browser/bench.ts', args: ['--devices', '20', '--rate', '20', '--runs', '1'], begins: /^run 1:$/m }]),
  ])(
  '$tool stops everything it started, however often it is interrupted',
  { timeout: startTimeoutMs + 2 * endTimeoutMs },
  async ({ tool, args, begins }) => {
    const { AMQP_URL: _amqpUrl, DATABASE_URL: _databaseUrl, ...env } = process.env;
    const main = fileURLToPath(new URL(`../${tool}`, import.meta.url));
    const backing = kind === 'containers' ? 'containers' : 'native';
    const child = spawn(process.execPath, [main, '--backing', backing, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    cleanUp(() => child.kill('SIGKILL'));
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    await eventually(() => expect(output).toMatch(begins), { timeoutMs: startTimeoutMs });

    const started = processTree(child.pid!);
    // Containers are not its children.
    if (kind === 'native') expect(started.length).toBeGreaterThan(2);
    const exited = once(child, 'exit');
    // As when Ctrl-C is pressed repeatedly, or a shell signals a process group whose members forward signals.
    const interrupting = setInterval(() => child.kill('SIGINT'), repeatMs);
    await exited;
    clearInterval(interrupting);
    await untilGone(started, endTimeoutMs);
  },
);
