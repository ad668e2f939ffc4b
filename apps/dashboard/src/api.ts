import { ApiProblem, answerOf, createFleetwireClient } from '@fleetwire/client/client';
import { learnServerTime } from './clock.ts';
import { sleep } from './sleep.ts';

export { ApiProblem, answerOf };

/** Below CALLS_IN_FLIGHT_PER_CALLER_MAX of query-api (6), so that a second tab finds room. */
const callsInFlightMax = 3;
/** A call that is refused because other tabs have theirs in flight is repeated: it has done nothing yet. */
const busyTriesMax = 6;
const busyWaitMsMax = 2_000;

let inFlight = 0;
const waiting: (() => void)[] = [];
let whenSignedOut: () => void = () => {};

/** @param listener runs when an answer says that there is no session any more */
export function onSignedOut(listener: () => void): void {
  whenSignedOut = listener;
}

/** Fetches with the session cookie; calls beyond the bound wait for a place. */
async function fetchInTurn(request: Request): Promise<Response> {
  if (inFlight >= callsInFlightMax) await new Promise<void>((resolve) => waiting.push(resolve));
  inFlight += 1;
  try {
    const response = await fetchWhenFree(request);
    const date = Date.parse(response.headers.get('date') ?? '');
    if (!Number.isNaN(date)) learnServerTime(date);
    if (response.status === 401 && new URL(request.url).pathname !== '/api/v1/session') whenSignedOut();
    return response;
  } finally {
    inFlight -= 1;
    waiting.shift()?.();
  }
}

async function fetchWhenFree(request: Request): Promise<Response> {
  for (let tries = 1; ; tries += 1) {
    request.signal.throwIfAborted();
    const response = await fetch(request.clone());
    const waitMs = Number(response.headers.get('retry-after') ?? Number.NaN) * 1_000;
    if (response.status !== 429 || !(waitMs <= busyWaitMsMax) || tries === busyTriesMax) return response;
    await sleep(waitMs * (0.3 + Math.random() * tries));
  }
}

/** The typed client of the HTTP API: `answerOf(api.GET('/api/v1/queues', { signal }))`. */
export const api = createFleetwireClient({ url: location.origin, fetch: fetchInTurn });

/** A call without types, for routes that the document does not describe. @throws {ApiProblem} */
export async function callJson<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  const headers = { accept: 'application/json', ...(body !== undefined && { 'content-type': 'application/json' }) };
  const request = new Request(new URL(path, location.origin), {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return answerOf<Answer>(
    fetchInTurn(request).then(async (response) => {
      const text = await response.text();
      const json: unknown = text === '' ? undefined : parseOrText(text);
      return response.ok ? { data: json as Answer, response } : { error: json, response };
    }),
  );
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What a failed call means for the viewer: the words of the problem document, or that the server cannot be reached. */
export interface Failure {
  readonly title: string;
  readonly detail: string;
  /** Undefined where there was no answer. */
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  /** The identifier of the request, where the problem names it. */
  readonly instance: string | undefined;
  readonly problem: ApiProblem['problem'] | undefined;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof ApiProblem) {
    const { title, detail, errors } = error.problem;
    const fields = (errors ?? []).map(({ field, detail: text }) => `${field} ${text}`).join('; ');
    return {
      title: title ?? `The server answered ${error.status}`,
      detail: [detail, fields].filter(Boolean).join(' '),
      status: error.status,
      retryAfterMs: error.retryAfterMs,
      instance: (error.problem as { instance?: string }).instance,
      problem: error.problem,
    };
  }
  return {
    title: 'The server does not answer',
    detail: error instanceof Error && !(error instanceof TypeError) ? error.message : '',
    status: undefined,
    retryAfterMs: undefined,
    instance: undefined,
    problem: undefined,
  };
}
