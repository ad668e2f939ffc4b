import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createKeys } from '../src/keys.ts';
import { ServiceProcess } from '../src/processes/service-process.ts';
import { cleanUp } from '../src/testing/clean-up.ts';
import { freshVhost } from '../src/testing/fresh-vhost.ts';

it('does not take the answer of another process on its port for its own', async () => {
  const other = createServer((_, response) => response.end('ready')).listen(0, '127.0.0.1');
  await once(other, 'listening');
  cleanUp(() => other.close());
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-service-'));
  cleanUp(() => rmSync(folder, { recursive: true }));
  const { publicJwks } = await createKeys();
  const ingest = new ServiceProcess({
    service: 'ingest-ws',
    port: (other.address() as AddressInfo).port,
    env: { AMQP_URL: await freshVhost(), AUTH_JWKS: JSON.stringify(publicJwks) },
    logFile: join(folder, 'ingest-ws.log'),
  });
  cleanUp(() => ingest.kill());
  ingest.start();
  await expect(ingest.untilReady()).rejects.toThrow(/exited while it was starting \(exit code 1\).*EADDRINUSE/s);
});
