import { eventually } from '@fleetwire/platform/testing/eventually';
import type { ChaosPlatform } from './platform.ts';

/** Totals of the platform's reconciliation report (`GET /ledger`), in readings. */
export interface Reconciliation {
  readonly received: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly deadLettered: number;
  readonly inFlight: number;
  readonly missing: number;
  readonly surplus: number;
  /** `incomplete` where an ingest-ws was killed before it had reported what it received. */
  readonly state: 'balanced' | 'settling' | 'incomplete' | 'unbalanced';
}

const timeoutMs = 30_000;
const intervalMs = 1_000;
const requestTimeoutMs = 10_000;

/** Reads the report since `from`; retries while query-api's circuit breaker is still open. */
export async function readReconciliation({ services, platform }: ChaosPlatform, from: Date): Promise<Reconciliation> {
  const headers = { authorization: `Bearer ${await platform.keys.token('chaos', 'operator')}` };
  const url = `${services['query-api'][0]!.url}/api/v1/ledger?from=${from.toISOString()}`;
  return await eventually(
    async () => {
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(requestTimeoutMs) });
      const text = await response.text();
      if (!response.ok) throw new Error(`query-api did not return the reconciliation report: ${text}`);
      return (JSON.parse(text) as { total: Reconciliation }).total;
    },
    { timeoutMs, intervalMs },
  );
}
