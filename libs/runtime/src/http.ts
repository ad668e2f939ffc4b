import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import express, { type Express, type RequestHandler } from 'express';
import helmet, { type HelmetOptions } from 'helmet';
import { pinoHttp } from 'pino-http';
import { Histogram, type Registry } from 'prom-client';
import type { Health } from './health.ts';
import { writeProblems } from './http-problems.ts';
import { traceRequests } from './http-tracing.ts';
import type { Logger } from './logger.ts';
import { checkOrigin, type OriginOptions } from './origins.ts';
import { notFound } from './problem.ts';
import { type Tracer, untraced } from './trace-context.ts';

export type { HelmetOptions };

export interface HttpAppOptions {
  readonly logger: Logger;
  readonly tracer?: Tracer;
  readonly registry: Registry;
  readonly health: Health;
  /** Number of reverse proxies in front whose X-Forwarded-For is trusted; 0 trusts none. */
  readonly trustProxyHops: number;
  /** Routes read bodies themselves, up to this size; it is named in the 413. */
  readonly bodyBytesMax: number;
  /** Which web pages may use the service; without it, no page of another origin can read responses. */
  readonly origins?: OriginOptions;
  readonly helmet?: HelmetOptions;
  /** Adds the service's routes, between the common middleware and the 404 and error handlers. */
  readonly routes: (app: Express) => void;
}

/**
 * The express application of every service: security headers, request ids, request durations, health endpoints,
 * and problem documents for thrown errors.
 */
export function createHttpApp(options: HttpAppOptions): Express {
  const { logger, registry, health, trustProxyHops, bodyBytesMax, tracer = untraced } = options;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('trust proxy', trustProxyHops);
  app.set('query parser', 'simple');
  app.use(helmet(options.helmet));
  if (options.origins) app.use(checkOrigin(options.origins));
  app.use(health.router);
  app.use(requestIds(logger));
  app.use(traceRequests(tracer));
  app.use(requestSeconds(registry));
  app.use(mountedPath);
  options.routes(app);
  app.use((request) => {
    throw notFound(`No route matches ${request.path}`);
  });
  app.use(writeProblems({ logger, bodyBytesMax }));
  return app;
}

/** Gives every request an id and a logger with that id. Only failures are logged; successful requests are counted. */
function requestIds(logger: Logger): RequestHandler {
  return pinoHttp({
    logger,
    autoLogging: false,
    genReqId: correlate,
    serializers: { req: ({ id, method, url }) => ({ id, method, url }) },
  });
}

/** Where routes of the plain dialect are mounted; a client calls `/api/status`, `/api/data` and `/api/control`. */
export const plainMount = '/api/plain';

const plainPath = /^\/api(\/(?:status|data|control)\/?)(?=\?|$)/;

/** Any other path without a version means the newest: `/api/devices` is served as `/api/v1/devices`. */
const mountedPath: RequestHandler = (request, _response, next) => {
  const { url } = request;
  request.url = plainPath.test(url)
    ? url.replace(plainPath, `${plainMount}$1`)
    : url.replace(/^\/api\/(?!v\d+(?:\/|$))/, '/api/v1/');
  next();
};

function correlate(request: IncomingMessage, response: ServerResponse): string {
  const given = request.headers['x-request-id'];
  const id = typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID();
  response.setHeader('X-Request-Id', id);
  return id;
}

function requestSeconds(registry: Registry): RequestHandler {
  const seconds = new Histogram({
    name: 'fleetwire_http_request_seconds',
    help: 'Time to answer HTTP requests, by route pattern',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  return (request, response, next) => {
    const stop = seconds.startTimer();
    response.once('close', () => {
      // The pattern, never the path: a device id must not become a label.
      const route = typeof request.route?.path === 'string' ? request.route.path : 'unmatched';
      stop({ method: request.method, route, status: response.statusCode });
    });
    next();
  };
}
