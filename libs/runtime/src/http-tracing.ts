import type { IncomingMessage } from 'node:http';
import type { RequestHandler, Response } from 'express';
import { type BegunSpan, type Context, type Tracer, beginSpan, contextOf } from './trace-context.ts';

/** The span of a request; it continues the trace in the request's headers, if there is one. */
export function beginRequestSpan(tracer: Tracer, { headers, method = '' }: IncomingMessage): BegunSpan {
  const from = contextOf(headers);
  return beginSpan(tracer, method, {
    kind: 'SERVER',
    from: from === undefined ? [] : [from],
    attributes: { 'http.request.method': method },
  });
}

/** Gives every request a span, and its log lines the trace id. */
export function traceRequests(tracer: Tracer): RequestHandler {
  return (request, response, next) => {
    const span = beginRequestSpan(tracer, request);
    if (span.traceId === undefined) return next();
    response.locals['trace'] = span.context;
    request.log = request.log.child({ traceId: span.traceId });
    response.once('close', () => {
      // The pattern, never the path: paths with device ids would each become a name.
      const { path: route } = (request.route ?? {}) as { path?: unknown };
      const { statusCode } = response;
      if (typeof route === 'string') span.set({ 'http.route': route });
      span.set({ 'http.response.status_code': statusCode });
      span.end(statusCode >= 500 ? response.statusMessage : undefined);
    });
    next();
  };
}

/** The trace of a request; undefined without one. */
export function traceOf({ locals }: Response): Context | undefined {
  return locals['trace'] as Context | undefined;
}
