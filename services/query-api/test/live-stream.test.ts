import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { expect, it } from 'vitest';
import { startApi } from './running-api.ts';
import { freshStore } from './stored.ts';

/** What a stream ends with; 5 s are promised. */
const closedWithinMs = 5_000;

/** @returns what was read of the stream so far */
async function openStream(url: string, token: string, isPosted = false): Promise<{ text: string; isEnded: boolean }> {
  const ending = new AbortController();
  cleanUp(() => ending.abort());
  const { body } = await fetch(`${url}/api/v1/live${isPosted ? '' : '?pattern=*'}`, {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(isPosted && { method: 'POST', body: '{"pattern":"*"}' }),
    signal: ending.signal,
  });
  const stream = { text: '', isEnded: false };
  void (async () => {
    for await (const chunk of body!.pipeThrough(new TextDecoderStream())) stream.text += chunk;
    stream.isEnded = true;
  })().catch(() => {});
  await eventually(() => expect(stream.text).toContain('event: subscribed'));
  return stream;
}

it('ends a stream when its token expires, and says so', async () => {
  const { databaseUrl } = await freshStore();
  const { privateJwks, publicJwks } = await generateKeySet();
  const api = await startApi({
    DATABASE_URL: databaseUrl,
    AMQP_URL: await freshVhost(),
    AUTH_JWKS: JSON.stringify(publicJwks),
    AUTH_CLOCK_TOLERANCE_SECONDS: '0',
  });
  const minter = createTokenMinter({ privateJwks, issuer: 'fleetwire', audience: 'fleetwire' });
  const { token } = await minter.mint({ subject: 'ada', role: 'analyst', expiresInSeconds: 3 });
  const stream = await openStream(api.url, token);
  await eventually(() => expect(stream.isEnded).toBe(true));
  expect(stream.text).toMatch(/event: closing\ndata: {"code":4401,"reason":"the token has expired"}\n\n$/);
});

it('ends a stream within 5 s after the key of its token is removed, and says so; a stream of another key goes on', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'fleetwire-keys-'));
  cleanUp(() => rm(directory, { recursive: true }));
  const path = join(directory, 'keys.json');
  const [removed, kept] = [await generateKeySet({ kid: 'removed' }), await generateKeySet({ kid: 'kept' })];
  await writeFile(path, JSON.stringify({ keys: [...removed.publicJwks.keys, ...kept.publicJwks.keys] }));
  const { databaseUrl } = await freshStore();
  const api = await startApi({
    DATABASE_URL: databaseUrl,
    AMQP_URL: await freshVhost(),
    AUTH_JWKS: '',
    AUTH_JWKS_FILE: path,
  });
  const open = async ({ privateJwks }: typeof removed) => {
    const minter = createTokenMinter({ privateJwks, issuer: 'fleetwire', audience: 'fleetwire' });
    const { token } = await minter.mint({ subject: 'ada', role: 'analyst', expiresInSeconds: 3_600 });
    return openStream(api.url, token, privateJwks === kept.privateJwks);
  };
  const [ended, other] = [await open(removed), await open(kept)];
  await writeFile(path, JSON.stringify(kept.publicJwks));
  const removedAt = Date.now();
  await eventually(() => expect(ended.isEnded).toBe(true));
  expect(Date.now() - removedAt).toBeLessThan(closedWithinMs);
  expect(ended.text).toMatch(/event: closing\ndata: {"code":4401,"reason":"the key of the token was removed"}\n\n$/);
  expect(other.isEnded).toBe(false);
});
