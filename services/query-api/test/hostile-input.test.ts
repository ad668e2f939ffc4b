import { migrate } from '@fleetwire/store/migrate';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { describe, expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const databaseUrl = await freshDatabase();
await migrate(databaseUrl);
const api = await startApi({ DATABASE_URL: databaseUrl });
const token = await tokenFor('admin');
const forged = (content: unknown): string => Buffer.from(JSON.stringify(content)).toString('base64url');

describe('text that Postgres cannot store is refused with 400, naming the field', () => {
  it.each([
    ['/dead-letters?fingerprint=%00', 'query.fingerprint'],
    ['/dead-letters?deviceId=a%00', 'query.deviceId'],
    ['/dead-letters/groups?fingerprint=%00', 'query.fingerprint'],
    ['/dead-letters/%00', 'path.id'],
    ['/dead-letters/replays/%00', 'path.id'],
    ['/devices?q=%00', 'query.q'],
    ['/devices/pump-1/readings?metrics=a,%00', 'query.metrics'],
  ])('in %s', async (path, field) => {
    const { status, body } = await api.get(`/api/v1${path}`, { token });
    expect(status).toBe(400);
    expect(body.errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });

  it.each([
    ['/dead-letters/discard', { ids: ['a', '\0'], reason: 'x' }, 'body.ids[1]'],
    ['/dead-letters/discard', { ids: ['a'], reason: 'x\0' }, 'body.reason'],
    ['/dead-letters/replays', { filter: { fingerprint: '\ud800' } }, 'body.filter.fingerprint'],
    ['/tokens', { subject: 'a', role: 'device', '\0': 1 }, 'body'],
  ])('in the body of POST %s', async (path, content, field) => {
    const { status, body } = await api.get(`/api/v1${path}`, { token, method: 'POST', body: content });
    expect(status).toBe(400);
    expect(body.errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });
});

describe('a cursor', () => {
  const hugeNumbers = { from: 9e15, to: 9e15, ts: 1e300, streamKey: 1e10, seq: 1e300 };

  it.each([
    ['/devices/pump-1/readings', hugeNumbers],
    ['/devices/pump-1/gaps', { streamKey: 1e12, to: 1e300 }],
    ['/devices', { deviceId: 'a', seenSince: 1e300 }],
    ['/data', { deviceId: 'a' }],
    ['/dead-letters', { number: 1e300, from: 1e300 }],
    ['/dead-letters/actions', { number: 1e300 }],
    ['/dead-letters/replays', { number: 1e300 }],
  ])('of %s that a client made up is refused with 400', async (path, position) => {
    for (const text of [
      forged({ query: '', position }),
      `${forged({ query: '', position })}.${'A'.repeat(22)}`,
      'a.b.c',
    ]) {
      const { status, body } = await api.get(`/api/v1${path}?cursor=${text}`, { token });
      expect(status).toBe(400);
      expect(body.errors).toEqual([{ field: 'query.cursor', detail: expect.any(String) }]);
    }
  });

  it('is accepted by another instance that reads the same database, and refused once its position is changed', async () => {
    const store = await freshStore();
    await store.write([reading({ deviceId: 'a' }), reading({ deviceId: 'b' })]);
    const [one, other] = [
      await startApi({ DATABASE_URL: store.databaseUrl }),
      await startApi({ DATABASE_URL: store.databaseUrl }),
    ];
    const { next } = (await one.get('/api/v1/devices?limit=1')).body.page;
    const second = await other.get(`/api/v1/devices?limit=1&cursor=${next}`);
    expect(second.body.data).toMatchObject([{ deviceId: 'b' }]);

    const [content, signature] = next.split('.');
    const changed = JSON.parse(Buffer.from(content, 'base64url').toString());
    changed.position.deviceId = 'A';
    const tampered = await other.get(`/api/v1/devices?limit=1&cursor=${forged(changed)}.${signature}`);
    expect(tampered.status).toBe(400);
  });
});
