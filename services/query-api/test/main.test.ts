import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { keys } from './running-api.ts';
import { freshStore } from './stored.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const store = await freshStore();

it('starts as a process, becomes ready, and exits with code 0 after SIGTERM', async () => {
  const environment = { PORT: '0', DATABASE_URL: store.databaseUrl, AUTH_JWKS: JSON.stringify(keys.publicJwks) };
  const service = spawn(process.execPath, [main], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(service, 'exit');
  let url: string | undefined;
  for await (const line of createInterface({ input: service.stdout })) {
    url = (JSON.parse(line) as { url?: string }).url;
    if (url !== undefined) break;
  }
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  service.stdout.resume();
  service.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
});
