import { verifyDocument } from '@fleetwire/auth/signed-document';
import { registrySnapshotType } from '@fleetwire/contracts/registry-snapshot';
import { describe, expect, it } from 'vitest';
import { keys, type Reply, startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const store = await freshStore();
const api = await startApi({ DATABASE_URL: store.databaseUrl, RATE_LIMIT_PER_MINUTE: '100000' });
const operator = await tokenFor('operator', 'oscar');

type Change = [path: string, body?: unknown, etag?: string];

const call =
  (method: string, token = operator) =>
  (...[path, body, etag]: Change): Promise<Reply> =>
    api.get(`/api/v1${path}`, { method, token, body, headers: etag === undefined ? {} : { 'if-match': etag } });
const get = (path: string) => api.get(`/api/v1${path}`);
const [post, put, patch, remove] = ['POST', 'PUT', 'PATCH', 'DELETE'].map((method) => call(method)) as [
  ReturnType<typeof call>,
  ReturnType<typeof call>,
  ReturnType<typeof call>,
  ReturnType<typeof call>,
];

const fieldOf = ({ body }: Reply): string => body.errors?.[0]?.field;
const nested = (levels: number): unknown => (levels === 0 ? 1 : { a: nested(levels - 1) });

describe('registering a device', () => {
  it('answers 201 with the device, its ETag and its place', async () => {
    const fields = {
      name: 'Press 7',
      type: 'press',
      tags: ['site:north', 'line:2', 'site:north'],
      location: { lat: 48.1, lon: 11.6 },
      metadata: { firmware: '1.2', owner: { team: 'a' } },
      expectedIntervalMs: 60_000,
    };
    const made = await post('/devices', { deviceId: 'press-7', ...fields });
    expect(made.status).toBe(201);
    expect(made.headers.get('etag')).toBe('"1"');
    expect(made.headers.get('location')).toBe('/api/v1/devices/press-7');
    expect(made.body).toMatchObject({
      ...fields,
      tags: ['site:north', 'line:2'],
      status: 'active',
      registered: true,
      version: 1,
      firstSeenAt: null,
      lastSeenAt: null,
      silentForMs: null,
      _links: { self: '/api/v1/devices/press-7', readings: '/api/v1/devices/press-7/readings' },
    });
    const shown = await get('/devices/press-7');
    expect(shown.headers.get('etag')).toBe('"1"');
    expect(shown.body).toMatchObject(fields.metadata === undefined ? {} : { metadata: fields.metadata, epochs: [] });
    expect((await get('/devices/press-7/readings?from=now-1h')).body.data).toEqual([]);
  });

  it('is refused with 409 the second time, also when two clients do it at the same time', async () => {
    expect((await post('/devices', { deviceId: 'press-7' })).status).toBe(409);
    const made = await Promise.all([1, 2, 3, 4].map(() => post('/devices', { deviceId: 'contended' })));
    expect(made.map(({ status }) => status).toSorted()).toEqual([201, 409, 409, 409]);
    expect((await get('/devices/contended/events')).body.data).toHaveLength(1);
  });

  it('keeps what a device has sent before, and counts a first reading that comes later', async () => {
    const receivedAt = Date.UTC(2026, 0, 2);
    await store.write([reading({ deviceId: 'sender', receivedAt })]);
    expect((await get('/devices/sender')).body).toMatchObject({
      registered: false,
      version: 0,
      status: 'active',
      tags: [],
    });
    expect((await get('/devices?registered=false')).body.data.map((one: any) => one.deviceId)).toEqual(['sender']);
    expect((await post('/devices', { deviceId: 'sender', name: 'Sender' })).body).toMatchObject({
      registered: true,
      lastSeenAt: new Date(receivedAt).toISOString(),
    });
    await store.write([reading({ deviceId: 'contended', receivedAt })]);
    expect((await get('/devices/contended')).body).toMatchObject({
      firstSeenAt: new Date(receivedAt).toISOString(),
      version: 1,
    });
  });

  it.each([
    [{}, 400, 'body'],
    [{ deviceId: 'a b' }, 400, 'body.deviceId'],
    [{ deviceId: 'x', colour: 'red' }, 400, 'body.colour'],
    [{ deviceId: 'x', tags: ['a,b'] }, 400, 'body.tags[0]'],
    [{ deviceId: 'x', name: 'n'.repeat(201) }, 422, 'body.name'],
    [{ deviceId: 'x', tags: Array.from({ length: 51 }, (_, index) => `t${index}`) }, 422, 'body.tags'],
    [{ deviceId: 'x', location: { lat: 91, lon: 0 } }, 422, 'body.location.lat'],
    [{ deviceId: 'x', location: { lat: 1 } }, 400, 'body.location'],
    [{ deviceId: 'x', metadata: { text: 'x'.repeat(8_193) } }, 422, 'body.metadata'],
    [{ deviceId: 'x', metadata: nested(6) }, 422, 'body.metadata.a.a.a.a.a'],
    [{ deviceId: 'x', expectedIntervalMs: 1 }, 422, 'body.expectedIntervalMs'],
    [{ deviceId: 'x', name: 'a\0b' }, 400, 'body.name'],
    [{ deviceId: 'x', metadata: { 'a\0b': 1 } }, 400, 'body.metadata'],
  ])('names the member of %j that is not accepted', async (body, status, field) => {
    const refused = await post('/devices', body);
    expect([refused.status, fieldOf(refused)]).toEqual([status, field]);
    expect((await get('/devices/x')).status).toBe(404);
  });

  it('is not for analysts and devices', async () => {
    for (const [role, subject] of [['analyst', 'ada'] as const, ['device', 'x'] as const])
      expect((await call('POST', await tokenFor(role, subject))('/devices', { deviceId: 'x' })).status).toBe(403);
  });
});

describe('changing a device', () => {
  it('needs the ETag that was read: 428 without, 412 with an older one, naming who changed it and when', async () => {
    await post('/devices', { deviceId: 'guarded', name: 'One' });
    for (const refused of [
      await patch('/devices/guarded', { name: 'Two' }),
      await put('/devices/guarded', { name: 'Two' }),
      await patch('/devices/guarded/status', { status: 'suspended' }),
      await remove('/devices/guarded'),
    ])
      expect(refused.status).toBe(428);
    const changed = await patch('/devices/guarded', { name: 'Two' }, '"1"');
    expect([changed.status, changed.headers.get('etag'), changed.body.name]).toEqual([200, '"2"', 'Two']);
    const stale = await call('PATCH', await tokenFor('admin', 'grace'))('/devices/guarded', { name: 'Three' }, '"1"');
    expect(stale.status).toBe(412);
    expect(stale.body.current).toEqual({ etag: '"2"', changedBy: 'oscar', changedAt: expect.any(String) });
    for (const etag of ['"0"', 'W/"1"', '2', '"x"', 'w/"2"'])
      expect((await patch('/devices/guarded', { name: 'Three' }, etag)).status, etag).toBe(412);
    expect((await patch('/devices/guarded', { name: 'Three' }, '"7", "2"')).body.version).toBe(3);
    expect((await patch('/devices/guarded', { name: 'Four' }, '*')).body.version).toBe(4);
    // A proxy that compresses the answer makes its ETag weak.
    expect((await patch('/devices/guarded', { name: 'Five' }, 'W/"4"')).body.version).toBe(5);
    expect((await patch('/devices/unknown', { name: 'Four' }, '*')).status).toBe(404);
  });

  it('merges a patch member by member, and null removes one', async () => {
    await post('/devices', {
      deviceId: 'merged',
      name: 'M',
      tags: ['a'],
      metadata: { keep: 1, drop: 2, deep: { x: 1, y: 2 } },
    });
    const { body } = await patch(
      '/devices/merged',
      { name: null, tags: ['b'], metadata: { drop: null, deep: { x: null } } },
      '"1"',
    );
    expect(body).toMatchObject({ name: null, tags: ['b'] });
    expect(body.metadata).toEqual({ keep: 1, deep: { y: 2 } });
    const replaced = await put('/devices/merged', { type: 'pump' }, '"2"');
    expect(replaced.body).toMatchObject({ type: 'pump', tags: [], metadata: {} });
  });

  it('that changes nothing makes no version', async () => {
    await post('/devices', { deviceId: 'same', name: 'S' });
    expect((await patch('/devices/same', { name: 'S' }, '"1"')).headers.get('etag')).toBe('"1"');
    expect((await get('/devices/same/events')).body.data).toHaveLength(1);
  });

  it('is refused with 422 where the result would break a limit, naming the member', async () => {
    await post('/devices', { deviceId: 'full', metadata: { a: 'x'.repeat(5_000) } });
    const refused = await patch('/devices/full', { metadata: { b: 'x'.repeat(5_000) } }, '"1"');
    expect([refused.status, fieldOf(refused)]).toEqual([422, 'body.metadata']);
    expect(refused.body.errors[0].detail).toContain('at most 8192 (metadataBytesMax)');
    const half = await patch('/devices/full', { location: { lat: 1 } }, '"1"');
    expect([half.status, fieldOf(half)]).toEqual([422, 'body.location']);
    const deep = `{"metadata":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`;
    const response = await fetch(`${api.url}/api/v1/devices/full`, {
      method: 'PATCH',
      headers: {
        authorization: `Bearer ${operator}`,
        'content-type': 'application/merge-patch+json',
        'if-match': '"1"',
      },
      body: deep,
    });
    expect(response.status).toBe(400);
    expect((await get('/devices/full')).body.version).toBe(1);
  });

  it('by two clients with the same ETag is made once', async () => {
    await post('/devices', { deviceId: 'race' });
    const answers = await Promise.all(
      Array.from({ length: 4 }, (_, index) => patch('/devices/race', { name: `n${index}` }, '"1"')),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 412, 412, 412]);
  });

  it('by many clients that accept any version loses none', async () => {
    await post('/devices', { deviceId: 'busy' });
    await Promise.all(['a', 'b', 'c'].map((name) => patch('/devices/busy', { metadata: { [name]: 1 } }, '*')));
    expect((await get('/devices/busy')).body.metadata).toEqual({ a: 1, b: 1, c: 1 });
  });

  it('retires it: it is listed only where retired ones are asked for, and can be brought back', async () => {
    await post('/devices', { deviceId: 'old' });
    expect((await remove('/devices/old', undefined, '"1"')).body).toMatchObject({ status: 'retired', version: 2 });
    const listed = async (query: string) => (await get(`/devices?q=old&${query}`)).body.data.length;
    expect([await listed(''), await listed('status=retired'), await listed('status=active,retired')]).toEqual([
      0, 1, 1,
    ]);
    expect((await post('/devices', { deviceId: 'old' })).status).toBe(409);
    expect((await patch('/devices/old/status', { status: 'active' }, '"2"')).body.status).toBe('active');
    expect((await patch('/devices/old/status', { status: 'asleep' }, '"3"')).status).toBe(400);
  });
});

describe('the list of devices', () => {
  const found = async (query: string): Promise<string[]> => {
    const ids: string[] = [];
    let next: string | null = '';
    while (next !== null) {
      const page: Reply = await get(`/devices?q=list-&limit=2&${query}${next === '' ? '' : `&cursor=${next}`}`);
      expect(page.status, JSON.stringify(page.body)).toBe(200);
      ids.push(...page.body.data.map(({ deviceId }: { deviceId: string }) => deviceId));
      next = page.body.page.next;
    }
    return ids;
  };

  it('is filtered by tags, type and status, and sorted in both directions, page by page', async () => {
    const names = ['gamma', 'alpha', undefined, 'beta', 'alpha'];
    for (const [index, name] of names.entries())
      await post('/devices', {
        deviceId: `list-${index}`,
        ...(name !== undefined && { name }),
        type: index < 2 ? 'press' : 'pump',
        tags: ['all', ...(index % 2 === 0 ? ['even'] : [])],
      });
    await store.write(
      [3, 1, 4].map((index, order) => reading({ deviceId: `list-${index}`, receivedAt: Date.UTC(2026, 0, 1) + order })),
    );
    expect(await found('')).toEqual(['list-0', 'list-1', 'list-2', 'list-3', 'list-4']);
    expect(await found('sort=-deviceId')).toEqual(['list-4', 'list-3', 'list-2', 'list-1', 'list-0']);
    expect(await found('tag=even')).toEqual(['list-0', 'list-2', 'list-4']);
    expect(await found('tag=even,all&type=pump')).toEqual(['list-2', 'list-4']);
    expect(await found('tag=none')).toEqual([]);
    expect(await found('sort=name')).toEqual(['list-2', 'list-1', 'list-4', 'list-3', 'list-0']);
    expect(await found('sort=-name')).toEqual(['list-0', 'list-3', 'list-4', 'list-1', 'list-2']);
    expect(await found('sort=lastSeenAt')).toEqual(['list-0', 'list-2', 'list-3', 'list-1', 'list-4']);
    expect(await found('sort=silentFor')).toEqual(['list-4', 'list-1', 'list-3', 'list-2', 'list-0']);
    expect((await get('/devices?q=ALPH')).body.data).toHaveLength(2);
  });

  it('has only the members that are asked for', async () => {
    const [device] = (await get('/devices?q=list-0&fields=name,tags')).body.data;
    expect(device).toEqual({ deviceId: 'list-0', name: 'gamma', tags: ['all', 'even'] });
    expect((await get('/devices/list-0?fields=version')).body).toEqual({ deviceId: 'list-0', version: 1 });
  });

  it.each([
    ['/devices?fields=colour', 'query.fields'],
    ['/devices?sort=colour', 'query.sort'],
    ['/devices?status=gone', 'query.status'],
    ['/devices?tag=%00', 'query.tag'],
    ['/devices?colour=red', 'query.colour'],
    ['/devices/list-0?at=soon', 'query.at'],
    ['/devices/list-0?fields=colour', 'query.fields'],
  ])('answers 400 to %s, naming the parameter', async (path, field) => {
    const refused = await get(path);
    expect([refused.status, fieldOf(refused)]).toEqual([400, field]);
  });

  it('refuses a cursor of another list or another filter', async () => {
    const { next } = (await get('/devices?limit=1')).body.page;
    const events = (await get('/device-events?limit=1')).body.page.next;
    for (const path of [
      `/devices?tag=even&cursor=${next}`,
      `/devices?sort=name&cursor=${next}`,
      `/device-events?cursor=${next}`,
      `/devices/list-0/events?cursor=${next}`,
      `/devices?cursor=${events}`,
    ])
      expect([(await get(path)).status, fieldOf(await get(path))], path).toEqual([400, 'query.cursor']);
    expect((await get(`/devices?limit=1&fields=name&cursor=${next}`)).status).toBe(200);
  });
});

describe('the trail', () => {
  it('has every change with who, when and what, and answers what was known at a time', async () => {
    await post('/devices', { deviceId: 'traced', name: 'One' });
    const { body: first } = await get('/devices/traced/events');
    const before = first.data[0].occurredAt;
    await new Promise((resolve) => setTimeout(resolve, 5));
    await patch('/devices/traced', { name: 'Two', metadata: { a: 1 } }, '"1"');
    await patch('/devices/traced/status', { status: 'maintenance' }, '"2"');
    const { data } = (await get('/devices/traced/events')).body;
    expect(data.map(({ version, type, actor }: any) => [version, type, actor])).toEqual([
      [3, 'device.status-changed', 'oscar'],
      [2, 'device.updated', 'oscar'],
      [1, 'device.registered', 'oscar'],
    ]);
    expect(data[1].patch).toEqual({ name: 'Two', metadata: { a: 1 } });
    expect((await get(`/devices/traced?at=${before}`)).body).toMatchObject({ name: 'One', version: 1, metadata: {} });
    expect((await get('/devices/traced?at=now')).body).toMatchObject({
      name: 'Two',
      status: 'maintenance',
      version: 3,
    });
    expect((await get('/devices/traced?at=now-1h')).status).toBe(404);
    expect((await get('/devices/traced/events?limit=2')).body.page.next).not.toBeNull();
    expect((await get('/devices/unknown/events')).status).toBe(404);
  });

  it('is read in commit order by a cursor that never ends', async () => {
    const all: any[] = [];
    let cursor = '';
    for (;;) {
      const { body } = await get(`/device-events?limit=7${cursor === '' ? '' : `&cursor=${cursor}`}`);
      all.push(...body.data);
      cursor = body.page.next;
      if (body.covers.complete) break;
    }
    expect(new Set(all.map(({ deviceId, version }) => `${deviceId} ${version}`)).size).toBe(all.length);
    expect(all.filter(({ deviceId }) => deviceId === 'traced').map(({ version }) => version)).toEqual([1, 2, 3]);
    expect((await get(`/device-events?cursor=${cursor}`)).body.data).toEqual([]);
    await post('/devices', { deviceId: 'newest' });
    expect((await get(`/device-events?cursor=${cursor}`)).body.data).toMatchObject([
      { deviceId: 'newest', version: 1 },
    ]);
  });

  it('is read by a device for itself only', async () => {
    const token = await tokenFor('device', 'traced');
    const as = (path: string) => api.get(`/api/v1${path}`, { token });
    expect((await as('/devices/traced/events')).status).toBe(200);
    expect((await as('/devices/traced?at=now')).status).toBe(200);
    for (const path of ['/devices/press-7/events', '/devices/press-7', '/device-events', '/devices'])
      expect((await as(path)).status, path).toBe(403);
  });
});

describe('erasing the readings of a device', () => {
  it('is for admins, answers 202 with the job, and marks the device', async () => {
    await store.write([reading({ deviceId: 'erasable' })]);
    expect((await remove('/devices/erasable?erase=true', undefined, '"0"')).status).toBe(403);
    expect((await call('GET')('/devices/erasable/erasure')).status).toBe(404);
    const admin = call('DELETE', await tokenFor('admin', 'grace'));
    expect((await admin('/devices/erasable?erase=true')).status).toBe(428);
    const accepted = await admin('/devices/erasable?erase=true', undefined, '"0"');
    expect([accepted.status, accepted.headers.get('location')]).toEqual([202, '/api/v1/devices/erasable/erasure']);
    expect(accepted.body).toMatchObject({
      deviceId: 'erasable',
      state: 'running',
      requestedBy: 'grace',
      erased: { readings: 0 },
      deadLettersToReview: [],
    });
    expect((await api.get('/api/v1/devices/erasable/erasure', { token: operator })).body).toEqual(accepted.body);
    expect((await get('/devices/erasable')).body).toMatchObject({
      status: 'retired',
      erasedBefore: accepted.body.eraseBefore,
      version: 1,
    });
    expect((await get('/devices/erasable/events')).body.data).toMatchObject([
      { type: 'device.erased', actor: 'grace' },
    ]);
    const again = await admin('/devices/erasable?erase=true', undefined, '"1"');
    expect([again.status, again.body.id === accepted.body.id]).toEqual([202, false]);
  });
});

describe('the registry snapshot', () => {
  it('is signed and has the registered devices only, page by page', async () => {
    const devices: unknown[] = [];
    let cursor = '';
    let after: unknown = null;
    for (;;) {
      const { body, status } = await get(`/registry-snapshot?limit=7${cursor === '' ? '' : `&cursor=${cursor}`}`);
      expect(status).toBe(200);
      const page: any = await verifyDocument(body.document, registrySnapshotType, {
        current: async () => keys.publicJwks,
      });
      expect(page.after).toBe(after);
      devices.push(...page.devices);
      after = page.devices.at(-1)?.[0];
      if (page.isLast) break;
      cursor = body.page.next;
    }
    expect(devices).toContainEqual(['list-0', 1, 'active', 'press', ['all', 'even']]);
    const listed = (await get('/devices?registered=true&limit=1000&status=active,maintenance,suspended,retired')).body
      .data;
    expect(devices).toHaveLength(listed.length);
  });

  it('answers 501 where only public keys are configured, and is not for devices', async () => {
    const verifying = await startApi({ DATABASE_URL: store.databaseUrl, AUTH_JWKS: JSON.stringify(keys.publicJwks) });
    expect((await verifying.get('/api/v1/registry-snapshot')).status).toBe(501);
    const token = await tokenFor('device', 'press-7');
    expect((await api.get('/api/v1/registry-snapshot', { token })).status).toBe(403);
  });

  it('is followed from an empty page of events that starts now', async () => {
    const { data, page, covers } = (await get('/device-events?start=now')).body;
    expect([data, covers.complete]).toEqual([[], true]);
    await post('/devices', { deviceId: 'after-now' });
    expect((await get(`/device-events?cursor=${page.next}`)).body.data).toMatchObject([{ deviceId: 'after-now' }]);
  });
});

describe('presence', () => {
  const hour = 3_600_000;
  const at = (ms: number) => new Date(ms).toISOString();
  const started = Date.UTC(2026, 9, 1);

  it('is counted, of all devices but retired ones', async () => {
    const counts = async () => {
      const { asOf, ...found } = (await get('/presence')).body;
      expect(Date.parse(asOf)).not.toBeNaN();
      return found;
    };
    const before = await counts();
    for (const deviceId of ['counted-1', 'counted-2', 'counted-3', 'counted-4']) await post('/devices', { deviceId });
    await store.database.pool.query(
      `insert into presence values ('counted-1', 'online', 'connected', now(), 1), ('counted-2', 'offline', 'edge-lost', now(), 0),
         ('counted-4', 'online', 'connected', now(), 1), ('counted-unlisted', 'online', 'connected', now(), 1)`,
    );
    await remove('/devices/counted-4', undefined, '"1"');
    expect(await counts()).toEqual({
      devices: before.devices + 3,
      online: before.online + 1,
      stale: before.stale,
      offline: before.offline + 1,
      neverConnected: before.neverConnected + 1,
    });
  });

  it('is shown with a device, filters and sorts the list, and its connections are listed newest first, page by page', async () => {
    for (const deviceId of ['present-1', 'present-2', 'present-3', 'present-4']) await post('/devices', { deviceId });
    const { pool } = store.database;
    await pool.query(
      `insert into presence values ('present-1', 'online', 'connected', $1, 1), ('present-2', 'offline', 'edge-lost', $1, 0),
         ('present-4', 'stale', 'silent', $1, 1)`,
      [at(started + 2 * hour)],
    );
    await pool.query(
      `insert into connections (session_id, device_id, edge, generation, epoch, started_at, ended_at, reason) values
         ('s1', 'present-1', 'in-1', 1, 'b1', $1, $2, 'network'), ('s2', 'present-1', 'in-2', 1, 'b1', $2, $3, 'replaced'),
         ('s3', 'present-1', 'in-2', 1, 'b2', $3, null, null)`,
      [at(started), at(started + hour), at(started + 2 * hour)],
    );
    const presenceOf = async (id: string) => (await get(`/devices/${id}`)).body.presence;
    expect(await presenceOf('present-1')).toEqual({
      status: 'online',
      reason: 'connected',
      since: at(started + 2 * hour),
    });
    expect(await presenceOf('present-3')).toBeNull();
    const listed = async (query: string) =>
      (await get(`/devices?q=present-&${query}`)).body.data.map((device: { deviceId: string }) => device.deviceId);
    expect(await listed('presence=online')).toEqual(['present-1']);
    expect(await listed('presence=offline')).toEqual(['present-2']);
    expect(await listed('presence=stale')).toEqual(['present-4']);
    expect((await get('/devices?presence=asleep')).status).toBe(400);
    const inOrder = ['present-4', 'present-2', 'present-3', 'present-1'];
    expect(await listed('sort=presence')).toEqual(inOrder);
    expect(await listed('sort=-presence')).toEqual(inOrder.toReversed());
    const { page } = (await get('/devices?q=present-&sort=presence&limit=2')).body;
    expect(await listed(`sort=presence&limit=2&cursor=${page.next}`)).toEqual(inOrder.slice(2));

    const first = await get('/devices/present-1/connections?limit=2');
    expect(first.body.data).toEqual([
      { sessionId: 's3', edge: 'in-2', epoch: 'b2', startedAt: at(started + 2 * hour), endedAt: null, reason: null },
      {
        sessionId: 's2',
        edge: 'in-2',
        epoch: 'b1',
        startedAt: at(started + hour),
        endedAt: at(started + 2 * hour),
        reason: 'replaced',
      },
    ]);
    const second = await get(`/devices/present-1/connections?limit=2&cursor=${first.body.page.next}`);
    expect(second.body.data).toMatchObject([{ sessionId: 's1', reason: 'network' }]);
    expect(second.body.page.next).toBeNull();
    const inRange = await get(`/devices/present-1/connections?from=${started}&to=${started + hour / 2}`);
    expect(inRange.body.data).toMatchObject([{ sessionId: 's1' }]);
    expect((await get('/devices/present-3/connections')).body.data).toEqual([]);
    expect((await get('/devices/unknown/connections')).status).toBe(404);
    const other = await tokenFor('device', 'present-2');
    expect((await api.get('/api/v1/devices/present-1/connections', { token: other })).status).toBe(403);
  });
});
