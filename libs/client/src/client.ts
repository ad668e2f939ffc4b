import createClient, { type Client } from 'openapi-fetch';
import { type paths, repeatedParameters } from './openapi.ts';

/** The operations of docs/openapi.json by path and method: `client.GET('/api/v1/devices/{id}', { params: { path: { id } } })`. */
export type FleetwireClient = Client<paths>;

export interface ClientOptions {
  /** Of query-api, ingest-ws or nginx. */
  readonly url: string;
  readonly token?: string | undefined;
  readonly fetch?: (request: Request) => Promise<Response>;
}

export function createFleetwireClient({ url, token, fetch }: ClientOptions): FleetwireClient {
  return createClient<paths>({
    baseUrl: url.replace(/\/+$/, ''),
    querySerializer,
    ...(token !== undefined && { headers: { authorization: `Bearer ${token.trim()}` } }),
    ...(fetch !== undefined && { fetch }),
  });
}

type QueryValue = string | number | boolean | null | undefined;

function querySerializer(query: object): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query) as [string, QueryValue | readonly QueryValue[]][]) {
    const list = [value].flat().filter((one) => one !== undefined && one !== null);
    const texts = repeatedParameters.has(name) ? list.map(String) : [list.join(',')];
    if (list.length > 0) for (const text of texts) parameters.append(name, text);
  }
  return parameters.toString();
}

/** The members of a problem document (RFC 9457). */
export interface ProblemDocument {
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly field: string; readonly detail: string }[];
}

/** The API answered with an error status. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';
  readonly status: number;
  readonly problem: ProblemDocument;
  /** How long the server asks to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, problem: ProblemDocument, retryAfterMs?: number) {
    const errors = (problem.errors ?? []).map(({ field, detail }) => `; ${field} ${detail}`).join('');
    super(`${status} ${problem.detail ?? problem.title ?? 'the server gave no reason'}${errors}`);
    this.status = status;
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The body of an answer. @throws {ApiProblem} */
export async function answerOf<Data>(
  call: Promise<{ readonly data?: Data; readonly error?: unknown; readonly response: Response }>,
): Promise<Data> {
  const { data, error, response } = await call;
  if (response.ok) return data as Data;
  const retryAfterSeconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  // A proxy in front of the API may answer with something else than a problem document.
  const problem = typeof error === 'object' && error !== null ? (error as ProblemDocument) : {};
  throw new ApiProblem(
    response.status,
    problem,
    Number.isNaN(retryAfterSeconds) ? undefined : retryAfterSeconds * 1_000,
  );
}
