import { migrate } from '@fleetwire/store/migrate';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { sendHeaders } from '@fleetwire/platform/testing/send-headers';
import { describe, expect, it } from 'vitest';
import { readQueryApiConfiguration } from '../src/configuration.ts';
import { keys, startApi, tokenFor } from './running-api.ts';

const databaseUrl = await freshDatabase();
await migrate(databaseUrl);
const api = await startApi({ DATABASE_URL: databaseUrl });

describe('access', () => {
  it.each([undefined, 'Basic YTpi', 'Bearer', 'Bearer not-a-token'])(
    'is refused with 401 to %s',
    async (authorization) => {
      const response = await fetch(`${api.url}/api/v1/data`, {
        headers: authorization === undefined ? {} : { authorization },
      });
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toMatch(/^Bearer realm=/);
    },
  );

  it('is refused with 401 to a token with an unknown role or an invalid subject', async () => {
    for (const token of [await tokenFor('gardener'), await tokenFor('analyst', 'no spaces please')]) {
      expect((await api.get('/api/v1/data', { token })).status).toBe(401);
    }
  });

  it('is granted to analysts, operators and admins for all devices', async () => {
    for (const role of ['analyst', 'operator', 'admin']) {
      const token = await tokenFor(role);
      for (const path of ['/status', '/data', '/devices'])
        expect((await api.get(`/api/v1${path}`, { token })).status).toBe(200);
      expect((await api.get('/api/v1/devices/pump-1', { token })).status).toBe(404);
    }
  });

  it('is granted to a device for its own data only', async () => {
    const token = await tokenFor('device', 'pump-1');
    for (const path of [
      '/status',
      '/data',
      '/devices',
      '/devices/pump-2',
      '/devices/pump-2/readings',
      '/devices/pump-10/latest',
    ]) {
      expect((await api.get(`/api/v1${path}`, { token })).status, path).toBe(403);
    }
    for (const path of ['', '/latest', '/readings']) {
      expect((await api.get(`/api/v1/devices/pump-1${path}`, { token })).status, path).toBe(404);
    }
  });
});

describe('minting tokens', () => {
  const body = { subject: 'pump-1', role: 'device', expiresInSeconds: 60 };

  it('returns a valid token to an admin', async () => {
    const { status, body: minted } = await api.get('/api/v1/tokens', {
      method: 'POST',
      token: await tokenFor('admin'),
      body,
    });
    expect(status).toBe(201);
    expect(Date.parse(minted.expiresAt)).toBeGreaterThan(Date.now());
    expect((await api.get('/api/v1/devices/pump-1', { token: minted.token })).status).toBe(404);
    expect((await api.get('/api/v1/devices/pump-2', { token: minted.token })).status).toBe(403);
  });

  it.each(['device', 'analyst', 'operator'])('is refused to role %s', async (role) => {
    expect((await api.get('/api/v1/tokens', { method: 'POST', token: await tokenFor(role), body })).status).toBe(403);
  });

  it.each([
    [{ role: 'device' }, 'body'],
    [{ ...body, role: 'root' }, 'body.role'],
    [{ ...body, subject: 'a b' }, 'body.subject'],
    [{ ...body, expiresInSeconds: 1e9 }, 'body.expiresInSeconds'],
    [[], 'body'],
  ])('names the invalid field of %j', async (wrong, field) => {
    const { status, body: problem } = await api.get('/api/v1/tokens', {
      method: 'POST',
      token: await tokenFor('admin'),
      body: wrong,
    });
    expect(status).toBe(400);
    expect(problem.errors[0].field).toBe(field);
  });

  it('answers 501 where only public keys are configured', async () => {
    const verifying = await startApi({ DATABASE_URL: databaseUrl, AUTH_JWKS: JSON.stringify(keys.publicJwks) });
    expect(
      (await verifying.get('/api/v1/tokens', { method: 'POST', token: await tokenFor('admin'), body })).status,
    ).toBe(501);
  });
});

describe('AUTH_MODE=open', () => {
  it('treats every caller as an admin', async () => {
    const open = await startApi({ DATABASE_URL: databaseUrl, AUTH_MODE: 'open', AUTH_JWKS: '' });
    expect((await fetch(`${open.url}/api/v1/devices`)).status).toBe(200);
  });

  it('refuses web pages of other hosts by Host and Origin with 403, and accepts those of this machine', async () => {
    const open = await startApi({ DATABASE_URL: databaseUrl, AUTH_MODE: 'open', AUTH_JWKS: '' });
    const status = async (headers: Record<string, string>) =>
      (await sendHeaders(`${open.url}/api/v1/devices`, headers)).status;
    const { host } = new URL(open.url);
    for (const name of ['evil.example', 'localhost.evil.example', 'evil.example:8081', '10.0.0.1'])
      expect(await status({ Host: name }), name).toBe(403);
    for (const name of ['localhost', 'localhost:8081', '127.0.0.1:1', '[::1]:8081', host])
      expect(await status({ Host: name }), name).toBe(200);
    for (const origin of ['http://evil.example', 'null', 'https://localhost.evil.example'])
      expect(await status({ Host: host, Origin: origin }), origin).toBe(403);
    for (const origin of ['http://localhost:3000', 'http://127.0.0.1', 'http://[::1]:5173'])
      expect(await status({ Host: host, Origin: origin }), origin).toBe(200);
  });

  it('does not start on an address that is not loopback', () => {
    const environment = { DATABASE_URL: databaseUrl, AUTH_MODE: 'open' };
    expect(readQueryApiConfiguration({ ...environment, HOST: '127.0.0.1' }).authMode).toBe('open');
    expect(() => readQueryApiConfiguration({ ...environment, HOST: '0.0.0.0' })).toThrow(
      'AUTH_MODE=open needs a loopback HOST',
    );
  });
});

it('limits requests per caller and reports the limit in RateLimit headers', async () => {
  const limited = await startApi({ DATABASE_URL: databaseUrl, RATE_LIMIT_PER_MINUTE: '2' });
  const [first] = [await limited.get('/api/v1/devices'), await limited.get('/api/v1/devices')];
  expect(first?.headers.get('ratelimit-policy')).toContain('"calls"; q=2; w=60');
  expect(first?.headers.get('ratelimit')).toContain('r=1');
  const refused = await limited.get('/api/v1/devices');
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await limited.get('/api/v1/devices', { token: await tokenFor('operator') })).status).toBe(200);
});

describe('an address with many refused tokens', () => {
  it('gets 429 for further ones, while its valid tokens are accepted', async () => {
    const guarded = await startApi({ DATABASE_URL: databaseUrl });
    const statuses = [];
    for (let call = 0; call < 75; call += 1)
      statuses.push((await guarded.get('/api/v1/devices', { token: 'x' })).status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(60);
    expect(statuses.filter((status) => status === 429)).toHaveLength(15);
    for (const role of ['analyst', 'operator', 'admin']) {
      expect((await guarded.get('/api/v1/devices', { token: await tokenFor(role) })).status).toBe(200);
    }
    expect((await guarded.get('/metrics')).body).toContain('fleetwire_refused_tokens_total{status="429"} 15');
  });

  it('gets answers to all valid calls, however many are in flight', async () => {
    const guarded = await startApi({ DATABASE_URL: databaseUrl });
    const calls = Array.from({ length: 150 }, async (_, index) =>
      guarded.get('/api/v1/devices/none', { token: await tokenFor('analyst', `analyst-${index}`) }),
    );
    const statuses = (await Promise.all(calls)).map(({ status }) => status);
    expect(statuses).not.toContain(429);
  });
});

it('a device and an analyst with the same subject have their own limits', async () => {
  const limited = await startApi({ DATABASE_URL: databaseUrl, RATE_LIMIT_PER_MINUTE: '1' });
  const path = '/api/v1/devices/same';
  expect((await limited.get(path, { token: await tokenFor('device', 'same') })).status).toBe(404);
  expect((await limited.get(path, { token: await tokenFor('analyst', 'same') })).status).toBe(404);
  expect((await limited.get(path, { token: await tokenFor('device', 'same') })).status).toBe(429);
});

describe('ALLOWED_ORIGINS', () => {
  it('lets the listed web pages read answers and send their tokens, and no others', async () => {
    const shared = await startApi({
      DATABASE_URL: databaseUrl,
      ALLOWED_ORIGINS: 'https://dashboard.example, http://localhost:3000',
    });
    const authorization = `Bearer ${await tokenFor('analyst')}`;
    const get = (origin: string) => sendHeaders(`${shared.url}/api/v1/devices`, { Origin: origin, authorization });
    const allowed = await get('https://dashboard.example');
    expect(allowed).toMatchObject({
      status: 200,
      headers: {
        'access-control-allow-origin': 'https://dashboard.example',
        'access-control-expose-headers': expect.stringContaining('Link'),
        vary: expect.stringContaining('Origin'),
      },
    });
    const other = await get('https://evil.example');
    expect(other.headers).not.toHaveProperty('access-control-allow-origin');

    const preflight = (origin: string) =>
      sendHeaders(
        `${shared.url}/api/v1/devices`,
        { Origin: origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization' },
        'OPTIONS',
      );
    expect(await preflight('http://localhost:3000')).toMatchObject({
      status: 204,
      headers: { 'access-control-allow-headers': expect.stringContaining('Authorization') },
    });
    expect((await preflight('https://evil.example')).status).toBe(401);
  });

  it('is not needed by callers that are not web pages', async () => {
    expect((await api.get('/api/v1/devices')).headers.has('access-control-allow-origin')).toBe(false);
  });
});
