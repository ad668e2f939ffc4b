import { setTimeout as sleep } from 'node:timers/promises';
import { DiagLogLevel, diag } from '@opentelemetry/api';
import type { Environment } from './configuration.ts';
import type { Logger } from './logger.ts';
import { type Tracer, untraced } from './trace-context.ts';

export interface Tracing {
  readonly tracer: Tracer;
  /** Sends the queued spans. A collector that does not answer delays this by `flushTimeoutMs` at most; the spans are then dropped. */
  stop(): Promise<void>;
}

export const flushTimeoutMs = 3_000;

/**
 * Exports spans if OpenTelemetry's standard variables name an exporter; otherwise the SDK is not even loaded.
 * The address, headers and resource attributes are read by OpenTelemetry itself.
 * Source: OpenTelemetry specification, "Environment Variable Specification".
 */
export async function startTracing({
  serviceName,
  environment,
  logger,
}: {
  serviceName: string;
  environment: Environment;
  logger: Logger;
}): Promise<Tracing> {
  const choice = exporterOf(environment);
  if (choice === 'none') return { tracer: untraced, stop: async () => {} };
  if (choice !== 'otlp') {
    logger.warn({ exporter: choice }, 'unknown OTEL_TRACES_EXPORTER, tracing is off; supported are otlp and none');
    return { tracer: untraced, stop: async () => {} };
  }
  diag.setLogger(
    {
      error: (message) => logger.warn({ reason: message }, 'tracing'),
      warn: (message) => logger.warn({ reason: message }, 'tracing'),
      info: () => {},
      debug: () => {},
      verbose: () => {},
    },
    DiagLogLevel.WARN,
  );
  const { openExport } = await import('./span-export.ts');
  const provider = openExport({ serviceName, environment, logger });
  logger.info('exporting traces');
  return {
    tracer: provider.getTracer('fleetwire'),
    stop: async () => {
      const flushed = new AbortController();
      const unsent = (reason: unknown): void =>
        logger.warn({ reason: String(reason) }, 'could not send the last spans');
      await Promise.race([
        provider.shutdown().catch(unsent),
        sleep(flushTimeoutMs, `no answer within ${flushTimeoutMs} ms`, { signal: flushed.signal }).then(
          unsent,
          () => {},
        ),
      ]);
      flushed.abort();
    },
  };
}

function exporterOf(environment: Environment): string {
  if (environment['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return 'none';
  const isAddressed = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'].some(
    (name) => (environment[name] ?? '') !== '',
  );
  return environment['OTEL_TRACES_EXPORTER'] || (isAddressed ? 'otlp' : 'none');
}
