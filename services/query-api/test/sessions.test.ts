import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { deleteExpiredSessions } from '@fleetwire/store/sessions';
import { describe, expect, it } from 'vitest';
import { keys, startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const { databaseUrl, database, write } = await freshStore();
const directory = await mkdtemp(join(tmpdir(), 'fleetwire-keys-'));
cleanUp(() => rm(directory, { recursive: true }));
const keyFile = join(directory, 'keys.json');
const removed = await generateKeySet({ kid: 'removed' });
await writeFile(keyFile, JSON.stringify({ keys: [...keys.publicJwks.keys, ...removed.publicJwks.keys] }));
const start = (environment: Record<string, string> = {}) =>
  startApi({
    DATABASE_URL: databaseUrl,
    AUTH_JWKS: '',
    AUTH_JWKS_FILE: keyFile,
    AUTH_CLOCK_TOLERANCE_SECONDS: '0',
    TRUST_PROXY_HOPS: '1',
    SESSIONS_PER_SUBJECT_MAX: '3',
    SESSIONS_MAX: '40',
    REFUSED_TOKENS_PER_MINUTE_MAX: '4',
    BREAKER_RESET_MS: '500',
    ...environment,
  });
const [api, other] = [await start(), await start()];
await write([reading({ seq: 1, ts: 1_000 })]);

type Headers = Record<string, string>;
const own = { 'sec-fetch-site': 'same-origin' };

interface Sent {
  readonly method?: string;
  readonly headers?: Headers;
  readonly body?: unknown;
  readonly url?: string;
}

/** The instances have one address in an installation: its port, which the name of the cookie ends with. */
const portOf = (url: string) => new URL(url).port;
const ownCookie = (cookie: string, url: string) => cookie.replace(`_${portOf(api.url)}=`, `_${portOf(url)}=`);

async function call(path: string, { method = 'GET', headers = {}, body, url = api.url }: Sent = {}) {
  const { cookie } = headers;
  const answer = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
      ...(cookie !== undefined && { cookie: ownCookie(cookie, url) }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) };
}

let address = 0;
/** Each from an address of its own, as refused attempts are counted by address. */
function post(body: unknown, headers: Headers = {}) {
  address += 1;
  return call('/session', { method: 'POST', body, headers: { 'x-forwarded-for': `10.0.0.${address}`, ...headers } });
}

async function signIn(body: unknown, headers?: Headers): Promise<Headers> {
  const answer = await post(body, headers);
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  return { cookie: answer.headers.getSetCookie()[0]!.split(';')[0]! };
}

const signInAs = async (role: string, subject?: string) => signIn({ token: await tokenFor(role, subject) });

describe('a session', () => {
  it('begins with a token, in a cookie that no script reads and no other site sends; the database has its hash only', async () => {
    const token = await tokenFor('operator', 'ada');
    const begun = await post({ token });
    expect(begun).toMatchObject({ status: 201, body: { subject: 'ada', role: 'operator' } });
    const [cookie = ''] = begun.headers.getSetCookie();
    expect(cookie).toMatch(/^fleetwire_session_\d+=fws_[\w-]{64}; Path=\/; HttpOnly; SameSite=Strict$/);
    // The second: a proxy in front of nginx ended TLS, and nginx says that it was asked without.
    for (const headers of [{ 'x-forwarded-proto': 'https' }, { ...own, origin: 'https://fleet.example' }]) {
      const overTls = await post({ token }, headers);
      expect(overTls.headers.getSetCookie()[0]).toMatch(/; HttpOnly; Secure; SameSite=Strict$/);
    }
    expect(JSON.stringify(begun.body)).not.toContain('fws_');
    const { rows } = await database.pool.query(`select row_to_json(s)::text as text from sessions s`);
    const secret = /fws_([\w-]{64})/.exec(cookie)![1]!;
    const hex = Buffer.from(secret, 'base64url').toString('hex');
    for (const { text } of rows as { text: string }[]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain(hex.slice(0, 64));
      expect(text).not.toContain(token);
    }
  });

  it('has the role of its token on every route, and no more', async () => {
    const [analyst, operator] = [await signInAs('analyst'), await signInAs('operator')];
    for (const path of ['/session', '/status', '/devices', '/devices/pump-1/readings'])
      expect((await call(path, { headers: analyst })).status, path).toBe(200);
    expect((await call('/ledger?from=now-1h', { headers: analyst })).status).toBe(403);
    expect((await call('/ledger?from=now-1h', { headers: operator })).status).toBe(200);
    const device = { token: await tokenFor('device', 'pump-1') };
    expect(await post(device)).toMatchObject({ status: 403, body: { detail: expect.stringContaining('device') } });
    expect((await call('/session', { headers: { authorization: `Bearer ${device.token}` } })).body).toMatchObject({
      subject: 'pump-1',
      role: 'device',
    });
  });

  it('is kept by no shared cache: it can be ended, and the cache would go on answering', async () => {
    const path = '/devices/pump-1/readings?from=1970-01-01T00:00:00Z&to=1970-01-02T00:00:00Z';
    const byCookie = await call(path, { headers: await signInAs('analyst') });
    expect(byCookie.headers.get('cache-control')).toBe('private, no-cache');
    const byToken = await call(path, { headers: { authorization: `Bearer ${await tokenFor('analyst')}` } });
    expect(byToken.headers.get('cache-control')).toContain('s-maxage');
    expect(byToken.headers.get('vary')).toContain('Cookie');
  });

  it.each<[string, Headers]>([
    ['nothing that says where it comes from', {}],
    ['another site', { 'sec-fetch-site': 'cross-site' }],
    ['another host beside this one', { 'sec-fetch-site': 'same-site' }],
    ['another port of this host', { origin: 'http://127.0.0.1:1' }],
    ['a page without an origin', { origin: 'null' }],
  ])('refuses a change from %s with 403', async (_, headers) => {
    const cookie = await signInAs('admin', 'root');
    const change = { method: 'POST', body: { deviceId: `forged-${address}` }, headers: { ...cookie, ...headers } };
    const answer = await call('/devices', change);
    expect(answer).toMatchObject({ status: 403, body: { detail: expect.stringContaining('Sec-Fetch-Site') } });
    const signOut = await call('/session', { method: 'DELETE', headers: { ...cookie, ...headers } });
    expect(signOut.status).toBe(403);
    const list = await call('/devices', { headers: cookie });
    expect(JSON.stringify(list.body)).not.toContain('forged');
  });

  it.each<[string, () => Headers]>([
    ['Sec-Fetch-Site', () => own],
    ['Origin', () => ({ origin: api.url })],
  ])('lets pages of its own origin change things, by %s', async (name, headers) => {
    const cookie = await signInAs('admin', 'root');
    const deviceId = `made-by-${name.toLowerCase()}`;
    const made = await call('/devices', { method: 'POST', body: { deviceId }, headers: { ...cookie, ...headers() } });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
  });

  it('is begun by no page of another origin: the browser would work as someone else', async () => {
    const token = await tokenFor('analyst');
    expect((await post({ token }, { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' })).status).toBe(
      403,
    );
    expect((await post({ token }, own)).status).toBe(201);
  });

  it('is not that of another installation on another port of the same host, whose cookies the browser sends as well', async () => {
    const { cookie } = await signInAs('analyst');
    const others = `fleetwire_session=fws_x; fleetwire_session_${Number(portOf(api.url)) + 1}=fws_y`;
    expect((await call('/session', { headers: { cookie: `${others}; ${cookie}` } })).status).toBe(200);
    expect((await call('/session', { headers: { cookie: others } })).status).toBe(401);
  });

  it('is asked for without counting as a call of its subject: every ingest-ws does so for each of its sockets', async () => {
    const { url } = await start({ RATE_LIMIT_PER_MINUTE: '3' });
    const headers = await signInAs('analyst', 'many-sockets');
    for (let count = 0; count < 5; count += 1) expect((await call('/session', { headers, url })).status).toBe(200);
    for (const status of [200, 200, 200, 429]) expect((await call('/status', { headers, url })).status).toBe(status);
  });

  it('ends on every instance when its browser signs out, and no other one does', async () => {
    const [ended, kept] = [await signInAs('analyst', 'grace'), await signInAs('analyst', 'grace')];
    expect((await call('/session', { headers: ended, url: other.url })).status).toBe(200);
    const out = await call('/session', { method: 'DELETE', headers: { ...ended, ...own } });
    expect(out).toMatchObject({ status: 204, body: undefined });
    expect(out.headers.getSetCookie()[0]).toMatch(/^fleetwire_session_\d+=; Path=\/; Expires=Thu, 01 Jan 1970/);
    expect((await call('/status', { headers: ended })).status).toBe(401);
    await eventually(async () => expect((await call('/status', { headers: ended, url: other.url })).status).toBe(401));
    expect((await call('/status', { headers: kept })).status).toBe(200);
  });

  it('ends when its token expires, and maintenance deletes it', async () => {
    const minter = createTokenMinter({ privateJwks: keys.privateJwks, issuer: 'fleetwire', audience: 'fleetwire' });
    const minted = await minter.mint({ subject: 'short', role: 'analyst', expiresInSeconds: 4 });
    const cookie = await signIn({ token: minted.token });
    const session = await call('/session', { headers: cookie });
    expect(session.body.expiresAt).toBe(minted.expiresAt.toISOString());
    await eventually(async () => expect((await call('/status', { headers: cookie })).status).toBe(401));
    const rows = async () => (await database.pool.query(`select from sessions where subject = 'short'`)).rowCount;
    expect(await rows()).toBe(1);
    await deleteExpiredSessions(database.pool);
    expect(await rows()).toBe(0);
  });

  it('goes on while the database is away, where it was seen before', async () => {
    const cookie = await signInAs('analyst', 'outage');
    await database.pool.query('alter table sessions rename to sessions_away');
    const seen = async () => {
      const [here, there] = [
        await call('/session', { headers: cookie }),
        await call('/session', { headers: cookie, url: other.url }),
      ];
      const { circuits } = (await call('/status', { headers: cookie })).body;
      return {
        here: here.status,
        there: there.status,
        circuit: circuits.find((one: { name: string }) => one.name === 'sessions').state,
      };
    };
    try {
      // The circuit opens once what was read has to be read again.
      await eventually(async () => expect(await seen()).toEqual({ here: 200, there: 503, circuit: 'open' }));
    } finally {
      await database.pool.query('alter table sessions_away rename to sessions');
    }
    await eventually(async () => expect(await seen()).toEqual({ here: 200, there: 200, circuit: 'closed' }));
  });
});

describe('sign-in', () => {
  it('by a one-time code begins one session as the caller that made it, once', async () => {
    const bearer = { authorization: `Bearer ${await tokenFor('operator', 'linus')}` };
    const made = await call('/session/codes', { method: 'POST', headers: bearer });
    expect(made.status).toBe(201);
    const { code } = made.body as { code: string };
    const { rows } = await database.pool.query(`select row_to_json(c)::text as text from sign_in_codes c`);
    expect(JSON.stringify(rows)).not.toContain(code);
    const taken = await Promise.all(Array.from({ length: 4 }, () => post({ code })));
    expect(taken.map(({ status }) => status).sort()).toEqual([201, 401, 401, 401]);
    expect(taken.find(({ status }) => status === 201)!.body).toMatchObject({ subject: 'linus', role: 'operator' });
    expect((await post({ code })).body.detail).toContain('was used');
    const device = { authorization: `Bearer ${await tokenFor('device', 'pump-1')}` };
    expect((await call('/session/codes', { method: 'POST', headers: device })).status).toBe(403);
  });

  it('by a code that has expired is refused', async () => {
    const bearer = { authorization: `Bearer ${await tokenFor('analyst', 'late')}` };
    const { code } = (await call('/session/codes', { method: 'POST', headers: bearer })).body as { code: string };
    await database.pool.query(`update sign_in_codes set expires_at = now() where subject = 'late'`);
    expect((await post({ code })).status).toBe(401);
  });

  it('by what is no token is refused with 401, and with 429 to an address that goes on; a valid token is accepted there', async () => {
    const headers = { 'x-forwarded-for': '10.9.9.9' };
    const statuses: number[] = [];
    for (const body of [{ token: 'x' }, { code: 'x' }, { token: 'fws_x' }, { token: 'x' }, { token: 'x' }])
      statuses.push((await post(body, headers)).status);
    expect(statuses).toEqual([401, 401, 401, 401, 429]);
    expect((await post({ token: await tokenFor('analyst') }, headers)).status).toBe(201);
    for (const body of [{}, { token: 'x', code: 'y' }, { token: 1 }, { user: 'x' }])
      expect((await post(body)).status).toBe(400);
  });

  it('has a bound for each subject: the session that was used least recently ends', async () => {
    const cookies: Headers[] = [];
    for (let index = 0; index < 4; index += 1) cookies.push(await signInAs('analyst', 'many'));
    const { rowCount } = await database.pool.query(`select from sessions where subject = 'many'`);
    expect(rowCount).toBe(3);
    await eventually(async () => expect((await call('/session', { headers: cookies[0]! })).status).toBe(401));
    expect((await call('/session', { headers: cookies[3]! })).status).toBe(200);
  });

  it('has a bound for all: a further one gets 503, a subject that is at its own bound replaces one of its own', async () => {
    await database.pool.query(
      `insert into sessions (digest, subject, role, expires_at)
       select sha256(n::text::bytea), 'filler-' || n, 'analyst', now() + interval '1 hour'
       from generate_series(1, 40 - (select count(*)::int from sessions where expires_at > now())) n`,
    );
    const refused = await post({ token: await tokenFor('analyst', 'one-more') });
    expect(refused).toMatchObject({ status: 503, body: { detail: expect.stringContaining('SESSIONS_MAX') } });
    await signInAs('analyst', 'many');
    await database.pool.query(`delete from sessions where subject like 'filler-%'`);
    await signInAs('analyst', 'one-more');
  });
});

it('a session and a code end when the key of their token is removed', async () => {
  const minter = createTokenMinter({ privateJwks: removed.privateJwks, issuer: 'fleetwire', audience: 'fleetwire' });
  const { token } = await minter.mint({ subject: 'leaver', role: 'analyst', expiresInSeconds: 600 });
  const [cookie, kept] = [await signIn({ token }), await signInAs('analyst', 'stayer')];
  const made = await call('/session/codes', { method: 'POST', headers: { ...cookie, ...own } });
  await writeFile(keyFile, JSON.stringify(keys.publicJwks));
  await eventually(async () => expect((await call('/status', { headers: cookie })).status).toBe(401));
  expect((await post(made.body.code === undefined ? {} : { code: made.body.code })).status).toBe(401);
  expect((await call('/status', { headers: kept })).status).toBe(200);
});

it('without tokens (AUTH_MODE=open) a page needs no session', async () => {
  const { url } = await start({ AUTH_MODE: 'open', AUTH_JWKS_FILE: '', HOST: '127.0.0.1' });
  const anonymous = { subject: 'anonymous', role: 'admin', expiresAt: null, key: null };
  expect(await call('/session', { url })).toMatchObject({ status: 200, body: anonymous });
  expect(
    await call('/session', { url, headers: { cookie: `fleetwire_session_${portOf(url)}=fws_old` } }),
  ).toMatchObject({
    body: anonymous,
  });
});
