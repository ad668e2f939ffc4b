import type { Socket } from 'node:net';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { expect, it } from 'vitest';
import { listen } from '../src/listen.ts';
import { open } from './fixture.ts';

it('rejects once, and nothing else does, when the connection is reset while it begins to listen', async () => {
  const { pool } = open(await freshDatabase(), { poolMax: 1 });
  pool.on('acquire', (client) => {
    const { stream } = (client as unknown as { readonly connection: { readonly stream: Socket } }).connection;
    stream.destroy(new Error('reset'));
  });
  await expect(
    listen(pool, { channel: 'test', onNotification: () => {}, signal: new AbortController().signal }),
  ).rejects.toThrow('reset');
});
