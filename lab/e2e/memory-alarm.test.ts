import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setInterval as every } from 'node:timers/promises';
import { startBackingServices } from '@fleetwire/platform/servers/backing-services';
import { tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { startDeviceClient } from '../fleet/device-client.ts';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, inject, it } from 'vitest';
import { residentBytes } from './resident-bytes.ts';
import { startService } from './service-process.ts';

const mebibyte = 1024 * 1024;

it('while RabbitMQ blocks publishers, sockets are paused and memory stays flat for a minute; then all goes on', async ({
  skip,
}) => {
  const kind = inject('backingKind');
  if (kind === 'given') return skip('needs a RabbitMQ of its own, whose memory alarm it may set');
  const services = await startBackingServices({
    mode: kind,
    dataDir: mkdtempSync(join(tmpdir(), 'fleetwire-alarm-')),
    temporary: true,
    log: () => {},
    env: process.env,
  });
  cleanUp(() => services.stop());
  const { privateJwks, publicJwks } = await generateKeySet();
  const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
  const edge = await startService('ingest-ws', {
    AMQP_URL: services.amqpUrl,
    AUTH_JWKS: JSON.stringify(publicJwks),
    HEARTBEAT_INTERVAL_MS: '5000',
  });
  await edge.untilReady();
  const clients = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const deviceId = `device-${index}`;
      const { token } = await minter.mint({ subject: deviceId, role: 'device', expiresInSeconds: 3_600 });
      return startDeviceClient({ url: `${edge.url.replace('http', 'ws')}/ws`, deviceId, token });
    }),
  );
  cleanUp(() => Promise.all(clients.map((client) => client.stop({ settleTimeoutMs: 0 }))));
  const acked = (): number => clients.reduce((sum, client) => sum + client.journal.acked.size, 0);
  const sending = new AbortController();
  const load = (async () => {
    for await (const _ of every(20, undefined, { signal: sending.signal })) {
      for (const client of clients) if (client.room > 0) client.send({ ts: Date.now(), metrics: { value: 1 } });
    }
  })().catch(() => {});
  await eventually(() => expect(acked()).toBeGreaterThan(5_000));

  const watermark = (value: string) => services.control.rabbitmq!.ctl(['set_vm_memory_high_watermark', value]);
  await watermark('0.0000001');
  await eventually(async () => expect(await edge.metric('fleetwire_ingest_congested')).toBe(1));
  const ackedThen = acked();
  const before = residentBytes(edge.pid);
  let most = 0;
  let seconds = 0;
  for await (const _ of every(1_000)) {
    most = Math.max(most, residentBytes(edge.pid) - before);
    if ((seconds += 1) >= 60) break;
  }
  expect(most).toBeLessThan(50 * mebibyte);
  // What was published a moment before the alarm may still have been confirmed.
  expect(acked() - ackedThen).toBeLessThan(5_000);
  expect(await edge.metric('fleetwire_ingest_connections')).toBe(50);

  await watermark('0.6');
  await eventually(async () => expect(await edge.metric('fleetwire_ingest_congested')).toBe(0));
  sending.abort();
  await load;
  await Promise.all(clients.map((client) => client.whenSettled()));
  expect(clients.reduce((sum, client) => sum + client.journal.refused.size, 0)).toBe(0);
}, 180_000);
