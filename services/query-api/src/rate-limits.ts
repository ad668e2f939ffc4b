import { Counter, fromZero, type Registry } from '@fleetwire/runtime/metrics';
import { tooManyRequests } from '@fleetwire/runtime/problem';
import type { RequestHandler } from 'express';
import { rateLimit } from 'express-rate-limit';
import type { Caller } from './caller.ts';
import { callerOf } from './router.ts';

const windowMs = 60_000;

/** Limits each caller by its role and subject, whatever its address. */
export function limitCalls(callsPerMinute: number, refused: Counter<'reason'>): RequestHandler {
  return rateLimit({
    windowMs,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    handler: () => {
      refused.inc({ reason: 'calls-per-minute' });
      throw tooManyRequests(
        `Too many requests in ${windowMs / 1000} s; at most ${callsPerMinute} (RATE_LIMIT_PER_MINUTE). Retry-After gives the time to wait`,
        windowMs,
        { limit: 'calls-per-minute' },
      );
    },
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
export function limitCallsInFlight(limits: CallsInFlightLimits, refused: Counter<'reason'>): RequestHandler {
  const inFlight = new Map<string, number>();
  return (_request, response, next) => {
    // The client went while its token was checked: there is no `close` to come that would end the call.
    if (response.destroyed) return;
    const caller = callerOf(response);
    const name = caller.role === 'device' ? 'callsInFlightPerDeviceMax' : 'callsInFlightPerCallerMax';
    const key = keyOf(caller);
    const calls = inFlight.get(key) ?? 0;
    if (calls >= limits[name]) {
      refused.inc({ reason: 'calls-in-flight' });
      const variable = name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
      throw tooManyRequests(
        `You have ${calls} calls in flight; at most ${limits[name]} (${variable}). Wait for an answer before the next call`,
        1_000,
        { limit: 'calls-in-flight' },
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

const refusalReasons = [
  'calls-per-minute',
  'calls-in-flight',
  'exports-in-flight',
  'export-streams',
  'cost-per-minute',
  'too-expensive',
  'answer-bytes',
  'unavailable',
  'timeout',
] as const;

/** Calls that got no answer because of a limit, or because the database is away or too slow for them. */
export function refusedCounter(registry: Registry): Counter<'reason'> {
  return fromZero(
    new Counter({
      name: 'fleetwire_query_refused_total',
      help: 'Calls that were refused because of a limit, and questions that were not answered because the database is away (unavailable) or too slow (timeout), by reason',
      labelNames: ['reason'] as const,
      registers: [registry],
    }),
    'reason',
    refusalReasons,
  );
}
