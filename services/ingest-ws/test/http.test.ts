import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { ingest, queued, token, untilReady } from './harness.ts';

describe('telemetry over HTTP', async () => {
  const amqpUrl = await freshVhost();
  const edge = await ingest(amqpUrl, { HTTP_REQUESTS_PER_MINUTE_MAX: '50' });
  const readings = await queued(amqpUrl);
  const bearer = await token('thermo');
  const ts = Date.now();

  async function post(body: unknown, { path = '/api/v1/telemetry', as = bearer, encoding = 'identity' } = {}) {
    const response = await fetch(edge.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${as}`, 'content-type': 'application/json', 'content-encoding': encoding },
      body: typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
    });
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Record<string, unknown>,
    };
  }

  it('is accepted once it is in the queue, under the identity it came with', async () => {
    const answer = await post({ epoch: 'boot', seq: 3, ts, metrics: { t: 1 } });
    expect(answer).toMatchObject({
      status: 202,
      body: { accepted: 1, streams: [{ deviceId: 'thermo', epoch: 'boot', firstSeq: 3, lastSeq: 3 }] },
    });
    await eventually(() =>
      expect(readings).toContainEqual(
        expect.objectContaining({ deviceId: 'thermo', epoch: 'boot', seq: 3, ts, metrics: { t: 1 } }),
      ),
    );
  });

  it.each(['/api/v1/telemetry', '/api/telemetry', '/api/v1/data'])(
    'is accepted at %s in its smallest form',
    async (path) => {
      expect(await post({ device_id: 'thermo', value: 21 }, { path })).toMatchObject({
        status: 202,
        body: { accepted: 1 },
      });
    },
  );

  it('may be an array', async () => {
    expect(
      await post([
        { value: 1 },
        { value: 2 },
        {
          readings: [
            { ts, value: 3 },
            { ts, value: 4 },
          ],
        },
      ]),
    ).toMatchObject({ status: 202, body: { accepted: 4 } });
  });

  it('names each invalid element, and says that the others are safe', async () => {
    const answer = await post([
      { epoch: 'e', seq: 1, ts, value: 1 },
      { value: null },
      { deviceId: 'other', value: 1 },
      { seq: 5, ts, value: 1 },
    ]);
    expect(answer).toMatchObject({
      status: 422,
      body: {
        title: 'Unprocessable content',
        accepted: 1,
        errors: [
          { field: '[1].metrics.value', code: 'wrong-type' },
          { field: '[2].deviceId', code: 'forbidden' },
          { field: '[3].epoch', code: 'missing-field' },
        ],
      },
    });
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    await eventually(() => expect(readings.filter(({ epoch }) => epoch === 'e')).toHaveLength(1));
  });

  it('names the first 1,000 rejected readings and counts the others', async () => {
    const bad = { readings: Array.from({ length: 700 }, () => ({ ts: 5, value: 1 })) };
    const answer = await post([bad, { epoch: 'many', seq: 1, ts, value: 1 }, bad]);
    expect(answer).toMatchObject({ status: 422, body: { accepted: 1, errorsOmitted: 400 } });
    expect(answer.body['detail']).toContain('1400 elements were refused, of which 1000 are named');
    expect(answer.body['errors']).toHaveLength(1_000);
  });

  it('names an element with a text that cannot be stored, and takes the others', async () => {
    const answer = await post([
      { epoch: 'text', seq: 1, ts, value: 'good' },
      { epoch: 'text', seq: 2, ts, value: 'a\0b' },
      '\udc00',
    ]);
    expect(answer).toMatchObject({
      status: 422,
      body: {
        accepted: 1,
        errors: [
          { field: '[1].metrics.value', code: 'unstorable-text' },
          { field: '[2]', code: 'wrong-type' },
        ],
      },
    });
    expect((await post({ value: 'a\0b' })).status).toBe(422);
    await eventually(() => expect(readings.filter(({ epoch }) => epoch === 'text')).toHaveLength(1));
  });

  it.each([
    ['text that is not JSON', '{"value":', 400],
    ['an empty array', [], 400],
    ['bytes that are not UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 400],
    ['readings of another device only', { deviceId: 'other', value: 1 }, 403],
    ['a body that is too large', { metrics: { text: 'x'.repeat(300_000) } }, 413],
  ])('refuses %s', async (_name, body, status) => {
    expect((await post(body)).status).toBe(status);
  });

  it.each([
    ['/api/v1/telemetry', 202],
    ['/api/data', 200],
  ])('answers %s as it is documented, whatever is wrong', async (path, accepted) => {
    const subject = `documented-${accepted}`;
    const as = await token(subject);
    const good = { device_id: subject, value: 1 };
    const statuses = [
      await post(good, { path, as }),
      await post('{"value":', { path, as }),
      await post(good, { path, as: 'x.y.z' }),
      await post(good, { path, as: await token(subject, 'analyst') }),
      await post({ ...good, text: 'x'.repeat(300_000) }, { path, as }),
      await post(good, { path, as, encoding: 'rot13' }),
      await post({ ...good, value: null }, { path, as }),
    ].map(({ status }) => status);
    expect(statuses).toEqual([accepted, 400, 401, 403, 413, 415, 422]);
    const many = await Promise.all(Array.from({ length: 55 }, () => post(good, { path, as })));
    expect(many.map(({ status }) => status)).toContain(429);
  });

  it('requires a token, and POST', async () => {
    expect((await post({ value: 1 }, { as: 'forged.token.here' })).status).toBe(401);
    const response = await fetch(`${edge.url}/api/v1/telemetry`);
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST']);
  });

  it('is answered 503 with Retry-After while the broker is away, and 202 afterwards', async () => {
    edge.proxy.refuse();
    await eventually(async () => {
      const answer = await post({ value: 1 });
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    });
    expect((await post({ device_id: 'thermo', value: 1 }, { path: '/api/data' })).status).toBe(503);
    edge.proxy.resume();
    await untilReady(edge);
    expect((await post({ value: 1 })).status).toBe(202);
  });

  it('is answered 429 for a caller with too many requests, and 202 for another', async () => {
    const busy = await token('busy');
    const statuses = await Promise.all(
      Array.from({ length: 55 }, async () => (await post({ value: 1 }, { as: busy })).status),
    );
    expect(statuses.filter((status) => status === 429)).toHaveLength(5);
    expect((await post({ value: 1 }, { as: await token('calm') })).status).toBe(202);
  });
});
