import { setTimeout as sleep } from 'node:timers/promises';
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
  /** Every ingest instance has reported since the last reading was stored: nothing may be in flight, missing or surplus. */
  readonly isComplete: boolean;
}

interface Answer {
  readonly total: Omit<Reconciliation, 'isComplete'>;
  readonly edges: readonly { readonly state: string; readonly lastReportedAt: string }[];
}

const timeoutMs = 30_000;
/** An instance that was killed never reports again. */
const reportTimeoutMs = 5_000;
const intervalMs = 1_000;
const requestTimeoutMs = 10_000;

/**
 * Reads the report since `from`, once every ingest instance has reported since the call, or does not for too long. Retries while query-api's
 * circuit breaker is still open.
 */
export async function readReconciliation(platform: ChaosPlatform, from: Date): Promise<Reconciliation> {
  const calledAt = Date.now();
  for (;;) {
    const { total, edges } = await readReport(platform, from);
    const isComplete = edges.every(
      ({ state, lastReportedAt }) => state === 'finished' || Date.parse(lastReportedAt) > calledAt,
    );
    if (isComplete || Date.now() > calledAt + reportTimeoutMs) return { ...total, isComplete };
    await sleep(intervalMs);
  }
}

async function readReport({ services, platform }: ChaosPlatform, from: Date): Promise<Answer> {
  const headers = { authorization: `Bearer ${await platform.keys.token('chaos', 'operator')}` };
  const url = `${services['query-api'][0]!.url}/api/v1/ledger?from=${from.toISOString()}`;
  return await eventually(
    async () => {
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(requestTimeoutMs) });
      const text = await response.text();
      if (!response.ok) throw new Error(`query-api did not return the reconciliation report: ${text}`);
      return JSON.parse(text) as Answer;
    },
    { timeoutMs, intervalMs },
  );
}
