import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { expect, it } from 'vitest';
import { connect, ingest, token } from './harness.ts';

it('an edge with devices stops without waiting for the confirm timeout when the broker does not confirm that their sessions ended', async () => {
  const confirmTimeoutMs = 20_000;
  const edge = await ingest(await freshVhost(), {
    DRAIN_TIMEOUT_MS: '2000',
    CONFIRM_TIMEOUT_MS: String(confirmTimeoutMs),
  });
  await connect(edge.webSocketUrl, { token: await token('press-7') });
  edge.proxy.stall();
  const startedAt = performance.now();
  await edge.stop();
  expect(performance.now() - startedAt).toBeLessThan(confirmTimeoutMs);
});
