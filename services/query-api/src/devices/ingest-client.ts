import type { EnvelopeRun } from '@fleetwire/contracts/envelope';
import { Problem, type ProblemDocument, unavailable } from '@fleetwire/runtime/problem';
import type { Circuit } from '../circuit.ts';

/** Hands readings to ingest-ws with the caller's own token: there they are authorized, numbered, published and counted as all others. */
export interface IngestClient {
  /**
   * Resolves once the broker has confirmed all of them.
   * @throws {Problem} what ingest-ws answers; 503 where it does not answer
   */
  send(run: Omit<EnvelopeRun, 'receivedAt'>, authorization: string | undefined): Promise<void>;
}

export function createIngestClient(ingestUrl: string, circuit: Circuit): IngestClient {
  const target = `${ingestUrl.replace(/\/+$/, '')}/api/v1/telemetry`;
  return {
    send: async ({ deviceId, epoch, readings }, authorization) => {
      const [first] = readings;
      const body = JSON.stringify({
        deviceId,
        epoch,
        seq: first?.seq,
        readings: readings.map(({ ts, metrics }) => ({ ts, metrics })),
      });
      const { status, text, retryAfter } = await circuit.run(async (signal) => {
        const response = await fetch(target, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...(authorization !== undefined && { authorization }) },
          body,
          signal,
        });
        return {
          status: response.status,
          text: await response.text(),
          retryAfter: response.headers.get('retry-after'),
        };
      });
      if (status !== 202) throw problemOf(status, text, retryAfter);
    },
  };
}

function problemOf(status: number, text: string, retryAfter: string | null): Problem {
  const { title, detail, errors } = documentIn(text);
  if (status >= 500)
    return unavailable(`ingest-ws: ${detail ?? title ?? `answered ${status}`}`, Number(retryAfter ?? 1) * 1_000);
  return new Problem(status, title ?? 'Refused', {
    ...(detail !== undefined && { detail }),
    ...(errors !== undefined && { errors }),
    ...(retryAfter !== null && { headers: { 'Retry-After': retryAfter } }),
  });
}

/** A proxy in front may answer with something else than a problem document. */
function documentIn(text: string): Partial<ProblemDocument> {
  try {
    return JSON.parse(text) as Partial<ProblemDocument>;
  } catch {
    return {};
  }
}
