import { Counter, type Registry } from '@fleetwire/runtime/metrics';
import { tooManyRequests } from '@fleetwire/runtime/problem';
import type { RequestHandler } from 'express';
import { rateLimit, type Options } from 'express-rate-limit';
import type { Caller } from './caller.ts';
import { callerOf } from './router.ts';

const windowMs = 60_000;

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

/** Limits each caller by its role and subject, whatever its address. */
export function limitCalls(callsPerMinute: number): RequestHandler {
  return rateLimit({
    ...shared,
    identifier: 'calls',
    limit: callsPerMinute,
    keyGenerator: (_request, response) => keyOf(callerOf(response)),
  });
}

export interface CallsInFlightLimits {
  readonly callsInFlightPerCallerMax: number;
  readonly callsInFlightPerDeviceMax: number;
}

/** Limits the calls of each caller that are being answered at the same time. */
export function limitCallsInFlight(limits: CallsInFlightLimits, refusedCalls: Counter<'limit'>): RequestHandler {
  const inFlight = new Map<string, number>();
  return (_request, response, next) => {
    const caller = callerOf(response);
    const name = caller.role === 'device' ? 'callsInFlightPerDeviceMax' : 'callsInFlightPerCallerMax';
    const key = keyOf(caller);
    const calls = inFlight.get(key) ?? 0;
    if (calls >= limits[name]) {
      refusedCalls.inc({ limit: 'calls_in_flight_per_caller' });
      const variable = name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
      throw tooManyRequests(
        `You have ${calls} calls in flight; at most ${limits[name]} (${variable}). Wait for an answer before the next call`,
        1_000,
      );
    }
    inFlight.set(key, calls + 1);
    response.once('close', () => {
      const left = (inFlight.get(key) ?? 1) - 1;
      if (left === 0) inFlight.delete(key);
      else inFlight.set(key, left);
    });
    next();
  };
}

function keyOf({ role, sub }: Caller): string {
  return `${role} ${sub}`;
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
