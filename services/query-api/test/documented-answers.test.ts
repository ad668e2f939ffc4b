import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { expect, it } from 'vitest';
import { createCursorSignature } from '../src/cursor-signature.ts';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

// Documented answers of single operations that no other test has as its subject. Each is compared with docs/openapi.json.

const noon = Date.UTC(2026, 0, 1, 12);
const store = await freshStore();
await store.write([reading({ ts: noon }), reading({ deviceId: 'contended', ts: noon })]);
// Another client is always faster.
await store.database.pool.query(
  `create function lose() returns trigger language plpgsql as 'begin return null; end';
   create trigger lose before update on devices for each row when (old.device_id = 'contended') execute function lose()`,
);
const ingest = createServer((request, response) => {
  request.resume();
  response.writeHead(202).end('{}');
});
await new Promise<void>((resolve) => ingest.listen(0, '127.0.0.1', resolve));
cleanUp(() => ingest.close());
const api = await startApi({
  DATABASE_URL: store.databaseUrl,
  INGEST_URL: `http://127.0.0.1:${(ingest.address() as AddressInfo).port}`,
  COMMANDS_PENDING_PER_DEVICE_MAX: '1',
});
const token = await tokenFor('admin');
const call = async (line: string, body?: unknown, headers: Record<string, string> = {}) => {
  const [method = '', path = ''] = line.split(' ');
  return (await api.get(`/api/v1${path}`, { method, token, headers, ...(body !== undefined && { body }) })).status;
};
const any = { 'if-match': '*' };
const tagged = { 'if-none-match': '*' };
const tooLarge = { metadata: { note: 'x'.repeat(20_000) } };
const range = 'from=2026-01-01&to=2026-01-02';
const run = { deviceId: 'pump-1', epoch: 'boot-1', first: 0, last: 0 };

it.each<[string, unknown, Record<string, string>, number]>([
  ['PUT /devices/unregistered', {}, any, 404],
  ['PUT /devices/pump-1', {}, { 'if-match': '"99"' }, 412],
  ['PUT /devices/pump-1', tooLarge, any, 422],
  ['PUT /devices/contended', { name: 'x' }, any, 409],
  ['PATCH /devices/contended', { name: 'x' }, any, 409],
  ['PATCH /devices/unregistered/status', { status: 'active' }, any, 404],
  ['PATCH /devices/pump-1/status', { status: 'active' }, { 'if-match': '"99"' }, 412],
  ['PATCH /devices/contended/status', { status: 'suspended' }, any, 409],
  ['DELETE /devices/unregistered', undefined, any, 404],
  ['DELETE /devices/pump-1', undefined, { 'if-match': '"99"' }, 412],
  ['DELETE /devices/contended', undefined, any, 409],
  ['GET /devices/pump-1/data', undefined, {}, 200],
  ['GET /devices/pump-1/data', undefined, tagged, 304],
  ['GET /devices/unregistered/data', undefined, {}, 404],
  ['PATCH /devices/pump-1/data', { metrics: { temperature: 1 } }, {}, 202],
  ['PATCH /devices/pump-1/data', { ts: 1, metrics: { temperature: 1 } }, {}, 422],
  [`GET /devices/pump-1/history?${range}`, undefined, {}, 200],
  [`GET /devices/pump-1/history?${range}`, undefined, tagged, 304],
  ['GET /devices/unregistered/history', undefined, {}, 404],
  ['POST /devices/pump-1/history', [{ ts: noon, metrics: { temperature: 1 } }], {}, 202],
  ['POST /devices/pump-1/history', [{ ts: 1, metrics: { temperature: 1 } }], {}, 422],
  ['GET /readings?devices=unregistered', undefined, {}, 404],
  [`GET /series?pattern=*&metrics=temperature&${range}`, undefined, tagged, 304],
  ['POST /series/query', { devices: ['unregistered'], metrics: ['temperature'] }, {}, 404],
  [`GET /top?metrics=temperature&agg=max&${range}`, undefined, tagged, 304],
  [`GET /histogram?metrics=temperature&${range}`, undefined, tagged, 304],
  [`GET /completeness?${range}`, undefined, tagged, 304],
  ['POST /live/stored', { runs: [run] }, {}, 200],
  ['POST /live/stored', { runs: [{ ...run, last: 2 ** 50 }] }, {}, 422],
  ['POST /live/devices', { filter: { patterns: ['*'] } }, {}, 200],
  ['GET /devices/unregistered/gaps', undefined, {}, 404],
])('%s with %j and %j is answered %i', async (line, body, headers, status) => {
  expect(await call(line, body, headers)).toBe(status);
});

it('a cursor of device events of another database is answered 410', async () => {
  const { page } = (await api.get('/api/v1/device-events?start=now')).body;
  const content = JSON.parse(Buffer.from(page.next.split('.')[0], 'base64url').toString());
  content.position.store = 'another';
  const forged = Buffer.from(JSON.stringify(content)).toString('base64url');
  const cursor = createCursorSignature(store.databaseUrl).sign(forged);
  expect(await call(`GET /device-events?cursor=${cursor}`)).toBe(410);
});

it('a command beyond those that a device may have pending is answered 429 in the plain dialect', async () => {
  const send = async () => {
    const body = { target: 'pump-1', command: 'blink' };
    return (await api.get('/api/control', { method: 'POST', token, body })).status;
  };
  expect([await send(), await send()]).toEqual([200, 429]);
});

it('what became of a dead letter is not decided again, and no more replays wait than may: 409', async () => {
  await store.database.pool.query(
    `insert into dead_letters (id, status, reason, error_code, error_message, fingerprint, attempts, first_failed_at, last_failed_at, payload, payload_encoding)
     select id, status, 'refused-by-database', 'x', 'x', 'x', 1, now(), now(), 'x', 'json' from (values ('stored', 'stored'), ('open', 'open')) as l (id, status)`,
  );
  for (const verb of ['discard', 'restore'])
    expect(await call(`POST /dead-letters/stored/${verb}`, { reason: 'a test' })).toBe(409);
  const replay = () => call('POST /dead-letters/replays', { ids: ['open'] });
  let status = await replay();
  for (let replays = 1; status === 202 && replays <= 100; replays += 1) status = await replay();
  expect(status).toBe(409);
});
