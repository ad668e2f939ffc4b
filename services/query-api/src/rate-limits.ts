import { Counter, type Registry } from '@fleetwire/runtime/metrics';
import { tooManyRequests } from '@fleetwire/runtime/problem';
import type { RequestHandler } from 'express';
import { ipKeyGenerator, rateLimit, type Options } from 'express-rate-limit';
import { callerOf } from './router.ts';

const windowMs = 60_000;
const refusedTokensPerMinute = 60;

const shared: Partial<Options> = {
  windowMs,
  standardHeaders: 'draft-8',
  legacyHeaders: false,
  handler: () => {
    throw tooManyRequests(
      `Too many requests in ${windowMs / 1000} s; the RateLimit headers give the limit, Retry-After the time to wait`,
      windowMs,
    );
  },
};

/** Limits each caller by its subject, whatever its address. */
export function limitCalls(callsPerMinute: number): RequestHandler {
  return rateLimit({
    ...shared,
    identifier: 'calls',
    limit: callsPerMinute,
    keyGenerator: (_request, response) => callerOf(response).sub,
  });
}

/** Limits addresses that keep sending invalid tokens. */
export function limitRefusedTokens(): RequestHandler {
  return rateLimit({
    ...shared,
    identifier: 'refused-tokens',
    limit: refusedTokensPerMinute,
    standardHeaders: false,
    keyGenerator: (request) => ipKeyGenerator(request.ip ?? ''),
    skipSuccessfulRequests: true,
    requestWasSuccessful: (_request, response) => response.statusCode !== 401,
  });
}

/** Calls that were refused because of a limit, by the limit. */
export function refusedCallsCounter(registry: Registry): Counter<'limit'> {
  return new Counter({
    name: 'fleetwire_query_refused_calls_total',
    help: 'Calls that were refused with 429 or 503 because of a limit, by the limit',
    labelNames: ['limit'],
    registers: [registry],
  });
}
