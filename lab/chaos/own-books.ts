import { eventually } from './eventually.ts';
import type { Platform } from './platform.ts';

/** The platform's own ledger, in readings, as query-api tells it. */
export interface OwnBooks {
  readonly received: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly deadLettered: number;
  readonly inFlight: number;
  readonly difference: number;
  /** `incomplete` where an edge was killed before it had reported what it took. */
  readonly state: 'balanced' | 'settling' | 'incomplete' | 'unbalanced';
}

const answerTimeoutMs = 30_000;
const requestTimeoutMs = 10_000;

/** Asks for the books since `from`; the answer is tried for until a breaker that is still open has closed. */
export async function readOwnBooks({ services, token }: Platform, from: Date): Promise<OwnBooks> {
  const headers = { authorization: `Bearer ${await token('chaos', 'operator')}` };
  const url = `${services['query-api'][0]!.url}/api/v1/ledger?from=${from.toISOString()}`;
  let books: OwnBooks | undefined;
  let last = 'no answer';
  await eventually(
    async () => {
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(requestTimeoutMs) });
      last = await response.text();
      if (response.ok) books = (JSON.parse(last) as { total: OwnBooks }).total;
      return response.ok;
    },
    { timeoutMs: answerTimeoutMs, intervalMs: 1_000, describe: () => `query-api did not tell its ledger (${last})` },
  );
  return books!;
}
