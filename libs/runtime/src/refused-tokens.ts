import type { IncomingMessage } from 'node:http';
import { Counter, type Registry } from 'prom-client';
import { clientAddress } from './client-address.ts';
import { type Problem, tooManyRequests, unauthorized } from './problem.ts';

/** Answers requests whose token is refused: 401, and 429 to an address that sends too many of them. Valid tokens never come here. */
export interface RefusedTokens {
  answer(request: IncomingMessage, detail: string, error?: 'invalid_token' | 'invalid_request'): Problem;
}

const windowMs = 60_000;
/** Addresses counted in one window; the refused tokens of further addresses are answered with 401 only. */
const addressesMax = 100_000;

export function createRefusedTokens({
  refusedTokensPerMinuteMax,
  trustProxyHops,
  registry,
  now = Date.now,
}: {
  readonly refusedTokensPerMinuteMax: number;
  readonly trustProxyHops: number;
  readonly registry: Registry;
  readonly now?: () => number;
}): RefusedTokens {
  const answers = new Counter({
    name: 'fleetwire_refused_tokens_total',
    help: 'Requests and upgrades whose token was refused, by the status of the answer: 429 above REFUSED_TOKENS_PER_MINUTE_MAX of one address',
    labelNames: ['status'],
    registers: [registry],
  });
  const counts = new Map<string, number>();
  let windowEndsAt = 0;

  const countOf = (address: string): number => {
    if (now() >= windowEndsAt) {
      counts.clear();
      windowEndsAt = now() + windowMs;
    }
    const count = (counts.get(address) ?? 0) + 1;
    if (count > 1 || counts.size < addressesMax) counts.set(address, count);
    return count;
  };

  return {
    answer: (request, detail, error) => {
      // A request without credentials costs nothing to refuse.
      const count = error === undefined ? 0 : countOf(clientAddress(request, trustProxyHops));
      const isTooMany = count > refusedTokensPerMinuteMax;
      if (error !== undefined) answers.inc({ status: isTooMany ? '429' : '401' });
      if (!isTooMany) return unauthorized(detail, error);
      return tooManyRequests(
        `${detail}. More than ${refusedTokensPerMinuteMax} tokens of this address were refused in a minute ` +
          '(REFUSED_TOKENS_PER_MINUTE_MAX); a valid token is accepted at any time',
        windowEndsAt - now(),
      );
    },
  };
}
