import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { describe, expect, it } from 'vitest';
import { createIngestMetrics } from '../src/metrics.ts';
import { createSessionReader } from '../src/session-reader.ts';

/** `GET /api/v1/session` of a query-api: it knows these sessions, and is too slow for all others. */
async function queryApi(...sessions: string[]) {
  const known = new Set(sessions.map((token) => `Bearer ${token}`));
  const waiting: ServerResponse[] = [];
  const asked: string[] = [];
  const server = createServer(({ headers: { authorization = '' } }, response) => {
    asked.push(authorization);
    if (authorization.startsWith('Bearer fws_made-up')) return void waiting.push(response);
    response.statusCode = known.has(authorization) ? 200 : 401;
    response.end(JSON.stringify({ subject: 'ada', role: 'analyst', expiresAt: null, key: null }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  cleanUp(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    waiting,
    asked,
    end: (token: string) => known.delete(`Bearer ${token}`),
  };
}

const metrics = createIngestMetrics(createRegistry());
const places = 64;

describe('while made-up sessions take all places of those that were not seen before', () => {
  it('a session that was seen is read all the same, and refused once it has ended', async () => {
    const api = await queryApi('fws_seen', 'fws_other');
    let now = Date.now();
    const { read } = createSessionReader({ queryApiUrl: api.url, metrics, now: () => now });
    expect(await read('fws_seen')).toMatchObject({ ok: true, claims: { sub: 'ada' } });
    const madeUp = Array.from({ length: places }, (_, index) => read(`fws_made-up-${index}`));
    const settled = Promise.allSettled(madeUp);
    await expect(read('fws_other')).rejects.toMatchObject({ status: 503 });
    api.end('fws_seen');
    now += 2_000;
    expect(await read('fws_seen')).toMatchObject({ ok: false });
    await settled;
  });
});

it('of many sessions that end at the same moment each is refused when it is asked for next', async () => {
  const sessions = Array.from({ length: 200 }, (_, index) => `fws_${index}`);
  const api = await queryApi(...sessions);
  let now = Date.now();
  const { read } = createSessionReader({ queryApiUrl: api.url, metrics, now: () => now });
  for (const token of sessions) expect(await read(token)).toMatchObject({ ok: true });
  for (const token of sessions) api.end(token);
  now += 2_000;
  const answers = await Promise.all(sessions.map((token) => read(token)));
  expect(answers.filter(({ ok }) => ok)).toEqual([]);
});

it('an address has 16 sessions read at the same time that were not seen before; others have room, and one that was seen is not counted', async () => {
  const api = await queryApi('fws_seen');
  const { read, admit } = createSessionReader({ queryApiUrl: api.url, metrics });
  await read('fws_seen');
  const admitted = Array.from({ length: 16 }, (_, index) => admit(`fws_${index}`, '10.0.0.1'));
  expect(() => admit('fws_16', '10.0.0.1')).toThrow(expect.objectContaining({ status: 429 }));
  expect(admit('fws_seen', '10.0.0.1')).toBeUndefined();
  expect(admit('fws_17', '10.0.0.2')).toBeDefined();
  admitted[0]![Symbol.dispose]();
  expect(admit('fws_16', '10.0.0.1')).toBeDefined();
});
