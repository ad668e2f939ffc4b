import { connect } from 'node:net';
import { once } from 'node:events';
import { json } from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHealth } from '../src/health.ts';
import { createHttpApp } from '../src/http.ts';
import { isLoopback, listen, type Listening } from '../src/listen.ts';
import { createLogger } from '../src/logger.ts';
import { createRegistry } from '../src/metrics.ts';
import {
  badRequest,
  methodNotAllowed,
  problemMediaType,
  tooManyRequests,
  unauthorized,
  unavailable,
} from '../src/problem.ts';

const lines: string[] = [];
const registry = createRegistry();
const health = createHealth({ registry });
let broker: true | string = true;
health.addCheck('broker', () => broker);
const thrown = {
  bad: badRequest('limit is wrong', [{ field: 'query.limit', detail: 'expected 1 to 1000' }]),
  unauthorized: unauthorized('the token has expired', 'invalid_token'),
  busy: tooManyRequests('slow down', 1_200),
  away: unavailable('the database is away', 5_000),
  method: methodNotAllowed(['GET', 'HEAD']),
  bug: new Error('secret detail'),
};
let http: Listening;

beforeAll(async () => {
  const logger = await createLogger({ name: 'test', destination: { write: (line: string) => void lines.push(line) } });
  const app = createHttpApp({
    logger,
    registry,
    health,
    trustProxyHops: 0,
    bodyBytesMax: 100,
    routes: (routes) => {
      routes.get('/throw/:what', async (request) => {
        throw thrown[request.params.what as keyof typeof thrown];
      });
      routes.get('/half', (_request, response) => {
        response.write('half an ans');
        throw new Error('mid-stream');
      });
      routes.post(
        '/echo',
        json({ limit: 100, strict: false }),
        (request, response) => void response.json(request.body),
      );
    },
  });
  http = await listen(app, { host: '127.0.0.1', port: 0, headersTimeoutMs: 1_000, requestTimeoutMs: 1_500 });
});
afterAll(() => http.stop());

const get = (path: string, init?: RequestInit) => fetch(http.url + path, init);
const post = (body: string, headers = {}) =>
  get('/echo', { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });

describe('problem documents', () => {
  it.each([
    ['bad', 400, {}],
    ['unauthorized', 401, { 'www-authenticate': 'Bearer realm="fleetwire", error="invalid_token"' }],
    ['busy', 429, { 'retry-after': '2' }],
    ['away', 503, { 'retry-after': '5' }],
    ['method', 405, { allow: 'GET, HEAD' }],
  ] as const)('answer %s with %i and its headers', async (what, status, headers) => {
    const response = await get(`/throw/${what}`);
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe(problemMediaType);
    expect(Object.fromEntries(response.headers)).toMatchObject(headers);
    expect(await response.json()).toMatchObject({
      status,
      type: expect.stringMatching(/^urn:fleetwire:problem:[a-z-]+$/),
    });
  });

  it('name each invalid part of the request', async () => {
    const response = await get('/throw/bad');
    expect(await response.json()).toEqual({
      type: 'urn:fleetwire:problem:bad-request',
      title: 'Bad request',
      status: 400,
      detail: 'limit is wrong',
      errors: [{ field: 'query.limit', detail: 'expected 1 to 1000' }],
    });
  });

  it('keep the details of an unexpected error in the log, under the request id of the response', async () => {
    const response = await get('/throw/bug', { headers: { 'x-request-id': 'abc-123' } });
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('secret detail');
    expect(response.headers.get('x-request-id')).toBe('abc-123');
    expect(lines.find((line) => line.includes('secret detail'))).toContain('abc-123');
  });

  it('of an unavailable dependency are logged as one line without a stack', async () => {
    await get('/throw/away', { headers: { 'x-request-id': 'away-1' } });
    const line = JSON.parse(lines.find((one) => one.includes('away-1')) ?? '{}');
    expect(line).toMatchObject({ level: 'warn', problem: { status: 503, detail: 'the database is away' } });
    expect(line).not.toHaveProperty('err');
  });

  it('answer an unknown route, a body that is not JSON, one that is too large, and an unsupported charset', async () => {
    expect((await get('/nowhere')).status).toBe(404);
    expect((await post('{"a":')).status).toBe(400);
    expect((await post(JSON.stringify('x'.repeat(200)))).status).toBe(413);
    expect((await post('{}', { 'content-type': 'application/json; charset=klingon' })).status).toBe(415);
    expect(await (await post('"text"')).json()).toBe('text');
  });
});

describe('the HTTP base', () => {
  it('destroys the connection when a handler fails halfway through its response', async () => {
    await expect(get('/half').then((response) => response.text())).rejects.toThrow();
  });

  it('replaces a request id with characters that could forge log lines', async () => {
    const response = await get('/nowhere', { headers: { 'x-request-id': 'a b"c' } });
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('does not log a successful request, and counts it by its route pattern', async () => {
    const before = lines.length;
    await (await post('{"a":1}')).json();
    expect(lines.length).toBe(before);
    const metrics = await (await get('/metrics')).text();
    expect(metrics).toContain('fleetwire_http_request_seconds_count{method="POST",route="/echo",status="200"}');
    expect(metrics).toContain('route="/throw/:what"');
    expect(metrics).not.toContain('route="/throw/bad"');
    expect(metrics).toContain('process_cpu_seconds_total');
  });

  it('sends security headers and allows no other origin', async () => {
    const response = await get('/healthz', { headers: { origin: 'https://elsewhere.example' } });
    expect(response.headers.get('content-security-policy')).toContain("default-src 'self'");
    expect(response.headers.has('access-control-allow-origin')).toBe(false);
    expect(response.headers.has('x-powered-by')).toBe(false);
  });

  it('separates liveness from readiness, which names the unavailable dependency', async () => {
    broker = 'reconnecting';
    expect((await get('/healthz')).status).toBe(200);
    const readiness = await get('/readyz');
    expect(readiness.status).toBe(503);
    expect(await readiness.json()).toEqual({ ready: false, draining: false, checks: { broker: 'reconnecting' } });
    broker = true;
    expect((await get('/readyz')).status).toBe(200);
  });

  it('disconnects a client that does not finish its headers in time', async () => {
    const socket = connect(http.port, '127.0.0.1');
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toContain('408');
    socket.destroy();
  });

  it('stops immediately when only idle keep-alive connections are open', async () => {
    const other = await listen((_request, response) => response.end('ok'), { host: '127.0.0.1', port: 0 });
    await (await fetch(other.url)).text();
    await other.stop();
    await expect(fetch(other.url)).rejects.toThrow();
  });

  it('closes connections whose responses are not finished at the stop deadline', async () => {
    const arrived = Promise.withResolvers<void>();
    const other = await listen(() => arrived.resolve(), { host: '127.0.0.1', port: 0, stopTimeoutMs: 50 });
    const hanging = fetch(other.url).catch((error: unknown) => error);
    await arrived.promise;
    await other.stop();
    expect(await hanging).toBeInstanceOf(Error);
  });

  it('recognizes loopback addresses', () => {
    expect(['127.0.0.1', '::1', 'localhost', '127.3.2.1'].every(isLoopback)).toBe(true);
    expect(['0.0.0.0', '::', '10.0.0.1', 'example.org', '127.0.0.1.example.org'].some(isLoopback)).toBe(false);
  });
});
