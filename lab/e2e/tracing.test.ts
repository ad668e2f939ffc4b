import { once } from 'node:events';
import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { createPlatform, webSocketUrlOf } from './platform.ts';
import { type CollectedSpan, attribute, startSpanCollector } from './span-collector.ts';

/** All three services, logging everything. */
async function startServices(env: NodeJS.ProcessEnv) {
  const servers = { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() };
  const platform = await createPlatform(servers, {
    LOG_LEVEL: 'debug',
    AUTH_MODE: 'open',
    AUTH_JWKS: undefined,
    ...env,
  });
  const [ingest, worker, api] = await Promise.all([
    // The linger is long enough for three frames to share an envelope on a busy machine too.
    platform.start('ingest-ws', { env: { ENVELOPE_LINGER_MS: '1000' } }),
    platform.start('persistence-worker'),
    platform.start('query-api'),
  ]);
  return { ingest, worker, api };
}

type Services = Awaited<ReturnType<typeof startServices>>;

async function untilStored({ worker }: Services, readings: number): Promise<void> {
  await eventually(async () =>
    expect(await worker.metric('fleetwire_worker_readings_total{outcome="stored"}')).toBe(readings),
  );
}

async function sendFrames({ ingest }: Services, frames: readonly object[]): Promise<void> {
  const socket = new WebSocket(`${webSocketUrlOf(ingest)}?epoch=boot`, 'fleetwire.v1.json');
  await once(socket, 'open');
  for (const frame of frames) socket.send(JSON.stringify({ type: 'telemetry', ...frame }));
  await new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer) => {
      if (data.toString().includes('"ack"')) resolve();
    });
  });
  socket.close();
}

async function post({ ingest }: Services, body: object, headers: Record<string, string>): Promise<void> {
  const response = await fetch(`${ingest.url}/api/v1/telemetry`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  expect(response.status).toBe(202);
}

/** A line of the service's log; it may be written a moment after the event. */
async function lineOf(service: ServiceProcess, fits: (line: Record<string, unknown>) => boolean) {
  return eventually(() => {
    const line = service.logged().find(fits);
    if (line === undefined) throw new Error('no line fits');
    return line;
  });
}

const [deviceTrace, otherTrace, callerTrace] = ['a', 'b', 'c'].map((digit) => digit.repeat(32));
const traceparent = (traceId = '') => `00-${traceId}-${'1'.repeat(16)}-01`;
const reading = (seq: number) => ({ seq, ts: Date.now(), metrics: { temperature: seq } });

test('a trace follows a reading from its device through all services to the transaction that stores it', async () => {
  const collector = await startSpanCollector();
  const services = await startServices({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
  // The first frame after a pause is published immediately and alone; the others, received in its linger, share an envelope.
  await sendFrames(services, [
    { deviceId: 'alone', ...reading(1), traceparent: traceparent(deviceTrace) },
    { deviceId: 'one', ...reading(1), traceparent: traceparent(deviceTrace) },
    { deviceId: 'two', ...reading(1), traceparent: traceparent(otherTrace) },
    { deviceId: 'three', ...reading(1), traceparent: 'no trace at all' },
  ]);
  await untilStored(services, 4);
  await post(
    services,
    { deviceId: 'by-http', epoch: 'boot', ...reading(7) },
    { traceparent: traceparent(callerTrace), 'x-request-id': 'asked-by-me' },
  );
  await untilStored(services, 5);
  const answer = await fetch(`${services.api.url}/api/v1/devices/by-http`, {
    headers: { traceparent: traceparent(callerTrace) },
  });
  expect(answer.status).toBe(200);
  await answer.text();
  for (const service of Object.values(services)) expect(await service.stop()).toEqual({ code: 0, signal: null });

  const { spans } = collector;
  const spansOf = (traceId: string | undefined) =>
    spans.filter((span) => span.traceId === traceId).map(({ service, name }) => `${service}: ${name}`);
  const named = (name: string) => spans.filter((span) => span.name === name);
  const ingest = ['ingest-ws: telemetry receive', 'ingest-ws: telemetry publish'];
  const storage = ['persistence-worker: telemetry process', 'persistence-worker: telemetry store'];

  // A single trace goes on …
  expect(spansOf(deviceTrace)).toEqual(expect.arrayContaining([...ingest, ...storage]));
  expect(spansOf(callerTrace)).toEqual(
    expect.arrayContaining(['ingest-ws: POST', ...ingest, ...storage, 'query-api: GET']),
  );
  // … and several are linked from the envelope that they share.
  const linked = ({ links = [] }: CollectedSpan) => links.map(({ traceId }) => traceId);
  const shared = named('telemetry publish').find((span) => linked(span).length > 0);
  expect(linked(shared!)).toEqual([deviceTrace, otherTrace]);
  expect(spansOf(shared?.traceId)).toEqual(expect.arrayContaining(storage));
  // A frame without a trace has no span of its own.
  expect(named('telemetry receive')).toHaveLength(4);

  // The lines of the log are joined by the envelope's id.
  const confirmed = await lineOf(services.ingest, (line) => JSON.stringify(line).includes('by-http'));
  expect(confirmed).toMatchObject({
    msg: 'envelope confirmed',
    traceId: callerTrace,
    contents: [{ deviceId: 'by-http', epoch: 'boot', firstSeq: 7, lastSeq: 7, requestId: 'asked-by-me' }],
  });
  const written = await lineOf(services.worker, (line) => line['correlationId'] === confirmed['correlationId']);
  expect(written).toMatchObject({ msg: 'envelope stored', readings: 1, traceId: callerTrace });
  const store = named('telemetry store').find(({ traceId }) => traceId === callerTrace);
  expect(attribute(store!, 'fleetwire.batch.id')).toBe(written['batchId']);
});

describe('without an exporter', async () => {
  const collector = await startSpanCollector();
  const services = await startServices({ RETENTION_DAYS: '30' });

  test('trace and correlation id are still passed on', async () => {
    await sendFrames(services, [{ deviceId: 'alone', ...reading(1), traceparent: traceparent(deviceTrace) }]);
    await untilStored(services, 1);
    const confirmed = await lineOf(services.ingest, ({ msg }) => msg === 'envelope confirmed');
    const written = await lineOf(services.worker, ({ msg }) => msg === 'envelope stored');
    expect(confirmed).toMatchObject({ correlationId: expect.any(String), traceId: deviceTrace });
    expect(written).toMatchObject({ correlationId: confirmed['correlationId'], traceId: deviceTrace });
  });

  test('a dead letter has the correlation id and the trace of the envelope that carried its reading', async () => {
    const ts = Date.now() - 90 * 24 * 3_600_000;
    await sendFrames(services, [{ ...reading(1), deviceId: 'late', ts, traceparent: traceparent(deviceTrace) }]);
    const deadLetters = await eventually(async () => {
      const answer = await fetch(`${services.api.url}/api/v1/dead-letters?deviceId=late`);
      const { data } = (await answer.json()) as { data: { id: string }[] };
      expect(data).toHaveLength(1);
      return data;
    });
    const answer = await fetch(`${services.api.url}/api/v1/dead-letters/${deadLetters[0]!.id}`);
    const { headers } = (await answer.json()) as { headers: Record<string, string> };
    const confirmed = await lineOf(services.ingest, ({ contents = [] }) => JSON.stringify(contents).includes('"late"'));
    const deadLettered = await lineOf(services.worker, ({ msg }) => msg === 'dead-lettered');
    const correlation = { correlationId: confirmed['correlationId'], traceId: deviceTrace };
    expect(confirmed).toMatchObject(correlation);
    expect(deadLettered).toMatchObject({ ...correlation, deviceId: 'late', epoch: 'boot', seq: 1 });
    expect(headers).toMatchObject({
      'x-fleetwire-correlation-id': correlation.correlationId,
      traceparent: expect.stringContaining(deviceTrace!),
    });
  });

  test('nothing is exported, also when the services stop', async () => {
    for (const service of Object.values(services)) expect(await service.stop()).toEqual({ code: 0, signal: null });
    expect(collector.spans).toEqual([]);
  });
});

test('an unreachable collector delays neither readings nor the drain', async () => {
  const services = await startServices({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' });
  await sendFrames(services, [{ deviceId: 'alone', ...reading(1) }]);
  await untilStored(services, 1);
  for (const service of Object.values(services)) expect(await service.stop()).toEqual({ code: 0, signal: null });
});
