import { migrate } from '@fleetwire/store/migrate';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { describe, expect, it } from 'vitest';
import { startApi } from './running-api.ts';

const databaseUrl = await freshDatabase();
await migrate(databaseUrl);
const api = await startApi({ DATABASE_URL: databaseUrl });

describe.each(['/docs', '/redoc'])('the page %s', (path) => {
  it('loads without a token, another host or an inline script, and each of its files exists', async () => {
    const { status, headers, body } = await api.get(path, { token: '' });
    expect(status).toBe(200);
    const policy = headers.get('content-security-policy');
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toContain('upgrade-insecure-requests');
    expect(body).not.toMatch(/<script>|https?:\/\/| on\w+=/);

    const references = [...(body as string).matchAll(/(?:src|href|spec-url)="([^"]+)"/g)].map(
      ([, reference]) => reference,
    );
    expect(references.length).toBeGreaterThan(2);
    for (const reference of references) {
      const response = await fetch(api.url + reference);
      expect(response.status, reference).toBe(200);
      expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(100);
    }
  });
});

it('serves the OpenAPI document', async () => {
  const { body } = await api.get('/openapi.json');
  expect(body.openapi).toMatch(/^3\.1/);
});

describe('paths', () => {
  it('without a version are served as /api/v1', async () => {
    expect((await api.get('/api/devices')).status).toBe(200);
    expect((await api.get('/api/devices/none')).status).toBe(404);
    expect((await api.get('/api/v2/devices')).status).toBe(404);
  });

  it('answer 405 to other methods, with the allowed ones in Allow', async () => {
    const { status, headers } = await api.get('/api/v1/devices', { method: 'DELETE' });
    expect(status).toBe(405);
    expect(headers.get('allow')).toBe('GET, HEAD, POST');
  });

  it('with characters that are not valid in a device id are refused with 400', async () => {
    for (const id of ['%00', '..%2f', '%F0%9F%99%82', "'--", 'a'.repeat(200)]) {
      const { status, body } = await api.get(`/api/v1/devices/${id}`);
      expect(status, id).toBe(400);
      expect(body.errors[0].field).toBe('path.id');
    }
    expect((await api.get('/api/v1/devices/%E0%A4%A')).status).toBe(400);
  });
});
