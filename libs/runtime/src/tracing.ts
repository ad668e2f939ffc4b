import { setTimeout as sleep } from 'node:timers/promises';
import { DiagLogLevel, diag } from '@opentelemetry/api';
import type { Environment } from './configuration.ts';
import type { Logger } from './logger.ts';
import { type Tracer, untraced } from './trace-context.ts';

export interface Tracing {
  readonly tracer: Tracer;
  /** Sends what waits. A collector that does not answer holds nobody up. */
  stop(): Promise<void>;
}

const flushTimeoutMs = 3_000;

/**
 * Exports spans where OpenTelemetry's standard variables name an exporter; without one, the SDK is not even loaded.
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
    logger.warn({ exporter: choice }, 'OTEL_TRACES_EXPORTER is not known, tracing is off; known are otlp and none');
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
  logger.info('traces are exported');
  return {
    tracer: provider.getTracer('fleetwire'),
    stop: async () => {
      const failed = (error: unknown): void => logger.warn({ err: error }, 'the last spans were not sent');
      const given = new AbortController();
      await Promise.race([
        provider.shutdown().catch(failed),
        sleep(flushTimeoutMs, undefined, { signal: given.signal }).catch(() => {}),
      ]);
      given.abort();
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
