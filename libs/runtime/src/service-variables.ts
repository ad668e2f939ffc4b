import { logLevels } from './logger.ts';
import { choice, integer, optional, port, string } from './variables.ts';

/** Variables of every service; `runService` uses them. */
export const serviceVariables = {
  logLevel: choice('LOG_LEVEL', logLevels, {
    default: 'info',
    doc: 'Least severe level that is logged',
  }),
  logFormat: choice('LOG_FORMAT', ['json', 'pretty'], {
    default: 'json',
    doc: 'One JSON object per line, or readable text for a terminal',
  }),
  instanceName: optional(
    string('INSTANCE_NAME', {
      doc: 'Name of this instance in GET /api/v1/instances; by default the name of the host. One that starts under the name of a stopped one replaces it there',
    }),
  ),
  drainTimeoutMs: integer('DRAIN_TIMEOUT_MS', {
    min: 100,
    max: 600_000,
    default: 25_000,
    unit: 'ms',
    doc: 'How long work in flight may take to finish after the first signal',
  }),
  drainGraceMs: integer('DRAIN_GRACE_MS', {
    min: 0,
    max: 60_000,
    default: 0,
    unit: 'ms',
    doc: 'Time between `/readyz` answering 503 and the listener closing, so that load balancers stop sending requests',
  }),
};

/** Where a service listens. */
export function listenVariables(defaultPort: number) {
  return {
    host: string('HOST', { default: '127.0.0.1', doc: 'Address to listen on' }),
    port: port('PORT', {
      default: defaultPort,
      doc: 'Port to listen on; with 0 the operating system picks a free one',
    }),
    trustProxyHops: integer('TRUST_PROXY_HOPS', {
      min: 0,
      max: 10,
      default: 0,
      unit: 'proxies',
      doc: 'Number of reverse proxies in front whose X-Forwarded-For is trusted',
    }),
  };
}
