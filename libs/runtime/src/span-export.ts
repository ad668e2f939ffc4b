import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Environment } from './configuration.ts';
import type { Logger } from './logger.ts';

/** The only module that loads the SDK: OTLP over HTTP, in JSON. */
export function openExport({
  serviceName,
  environment,
  logger,
}: {
  serviceName: string;
  environment: Environment;
  logger: Logger;
}): TracerProvider {
  return new TracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': serviceName, 'service.namespace': 'fleetwire' }))
      .merge(detectResources({ detectors: [envDetector] })),
    sampler: samplerOf(environment, logger),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
}

const standardSampler = 'parentbased_always_on';

function samplerOf(environment: Environment, logger: Logger): Sampler {
  const name = environment['OTEL_TRACES_SAMPLER'] || standardSampler;
  const root = rootSamplers[name.replace(/^parentbased_/, '')]?.(ratioOf(environment));
  if (root === undefined) {
    logger.warn({ sampler: name }, `unknown OTEL_TRACES_SAMPLER, using ${standardSampler}`);
    return new ParentBasedSampler({ root: new AlwaysOnSampler() });
  }
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root;
}

const rootSamplers: Record<string, (ratio: number) => Sampler> = {
  always_on: () => new AlwaysOnSampler(),
  always_off: () => new AlwaysOffSampler(),
  traceidratio: (ratio) => new TraceIdRatioBasedSampler(ratio),
};

/** 1 when the ratio is missing or invalid. */
function ratioOf(environment: Environment): number {
  const ratio = Number(environment['OTEL_TRACES_SAMPLER_ARG'] || 1);
  return ratio >= 0 && ratio <= 1 ? ratio : 1;
}
