import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createLogger } from '../src/logger.ts';
import { beginSpan, contextOf, traceIdOf, untraced } from '../src/trace-context.ts';
import { flushTimeoutMs, startTracing } from '../src/tracing.ts';

const traceparent = `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01`;
const logger = await createLogger({ name: 'test', level: 'silent' });

/** The packages of OpenTelemetry that a process has loaded once tracing was started with these variables. */
async function packagesLoaded(environment: Record<string, string>): Promise<string[]> {
  const program = `
    import { registerHooks } from 'node:module';
    const packages = new Set();
    registerHooks({
      load(url, context, load) {
        const [, name] = /@opentelemetry[/]([^/]+)[/](?!.*node_modules)/.exec(url) ?? [];
        if (name) packages.add(name);
        return load(url, context);
      },
    });
    const { startTracing } = await import(${JSON.stringify(import.meta.resolve('../src/tracing.ts'))});
    const { createLogger } = await import(${JSON.stringify(import.meta.resolve('../src/logger.ts'))});
    const logger = await createLogger({ name: 'test', level: 'silent' });
    await startTracing({ serviceName: 'test', environment: ${JSON.stringify(environment)}, logger });
    console.log(JSON.stringify([...packages]));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
  return JSON.parse(stdout) as string[];
}

test('the SDK is loaded only if an exporter is configured', async () => {
  expect(await packagesLoaded({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' })).toContain('sdk-trace');
  for (const environment of [{}, { OTEL_TRACES_EXPORTER: 'none' }, { OTEL_TRACES_EXPORTER: 'unheard-of' }]) {
    const packages = await packagesLoaded(environment);
    expect(packages).toContain('api');
    expect(packages).not.toContain('sdk-trace');
    expect(packages).not.toContain('exporter-trace-otlp-http');
  }
});

test.each([
  [{}, true],
  [{ OTEL_TRACES_SAMPLER: 'always_off' }, false],
  [{ OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' }, false],
  [{ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: 'much' }, true],
  [{ OTEL_TRACES_SAMPLER: 'unheard-of' }, true],
])('%j samples a new trace: %s', async (variables, isSampled) => {
  const environment = { OTEL_TRACES_EXPORTER: 'otlp', ...variables };
  const { tracer } = await startTracing({ serviceName: 'test', environment, logger });
  const span = beginSpan(tracer, 'work', { kind: 'INTERNAL', from: [], attributes: {} });
  expect(span.headers['traceparent']?.endsWith('-01')).toBe(isSampled);
});

test('a collector that accepts spans and never answers delays the drain by no more than the flush timeout', async () => {
  const requests: string[] = [];
  const collector = createServer(({ url = '' }) => void requests.push(url)).listen(0, '127.0.0.1');
  onTestFinished(() => {
    collector.close();
    collector.closeAllConnections();
    vi.unstubAllEnvs();
  });
  await once(collector, 'listening');
  const { port } = collector.address() as AddressInfo;
  // OpenTelemetry reads the address from the process's own environment.
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', `http://127.0.0.1:${port}`);
  const tracing = await startTracing({ serviceName: 'test', environment: process.env, logger });
  beginSpan(tracing.tracer, 'work', { kind: 'INTERNAL', from: [], attributes: {} }).end();

  const startedAt = performance.now();
  await tracing.stop();
  const elapsedMs = performance.now() - startedAt;
  expect(requests).toEqual(['/v1/traces']);
  expect(elapsedMs).toBeGreaterThan(flushTimeoutMs - 100);
  expect(elapsedMs).toBeLessThan(flushTimeoutMs + 1_000);
});

test('without an exporter a single trace is propagated unchanged, and several are not', () => {
  const from = contextOf({ traceparent, tracestate: 'vendor=1' })!;
  const begin = (contexts: (typeof from)[]) =>
    beginSpan(untraced, 'work', { kind: 'INTERNAL', from: contexts, attributes: {} });
  expect(begin([from]).headers).toEqual({ traceparent, tracestate: 'vendor=1' });
  expect(begin([from, from]).headers).toEqual({});
  expect(begin([]).traceId).toBeUndefined();
});

test.each([undefined, '', 'nonsense', `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`, 7, null, ['x'], {}])(
  'a traceparent of %j is ignored',
  (value) => {
    expect(contextOf({ traceparent: value })).toBeUndefined();
  },
);

test('the trace id of headers is read for the log', () => {
  expect(traceIdOf(contextOf({ traceparent }))).toBe('a'.repeat(32));
  expect(traceIdOf(undefined)).toBeUndefined();
});
