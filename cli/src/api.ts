import { type Command, Option } from 'commander';

const requestTimeoutMs = 30_000;

/** The members of a problem document (RFC 9457) that the command line shows. */
interface ProblemDocument {
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly field: string; readonly detail: string }[];
}

/** The API answered with an error status. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';
  readonly status: number;
  readonly problem: ProblemDocument;

  constructor(status: number, problem: ProblemDocument) {
    const errors = (problem.errors ?? []).map(({ field, detail }) => `; ${field} ${detail}`).join('');
    super(`${status} ${problem.detail ?? problem.title ?? 'the server gave no reason'}${errors}`);
    this.status = status;
    this.problem = problem;
  }
}

export interface Connection {
  readonly url: string;
  readonly token?: string;
  readonly json: boolean;
}

type Query = Readonly<Record<string, string | number | undefined>>;

export interface Api {
  get<T>(path: string, query?: Query): Promise<T>;
  post<T>(path: string, body: unknown): Promise<T>;
  patch<T>(path: string, body: unknown): Promise<T>;
}

/** Adds the options of every command that talks to an installation. */
export function withConnection(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', 'URL of query-api').env('FLEETWIRE_URL').default('http://127.0.0.1:8081'))
    .addOption(new Option('--token <token>', 'bearer token').env('FLEETWIRE_TOKEN'))
    .option('--json', 'print JSON', false);
}

/** @param signal cancels the requests in flight */
export function createApi({ url, token }: Pick<Connection, 'url' | 'token'>, signal: AbortSignal): Api {
  async function request<T>(method: string, path: string, { query = {}, body }: { query?: Query; body?: unknown }) {
    const target = new URL(`${url.replace(/\/+$/, '')}/api/v1${path}`);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) target.searchParams.set(name, String(value));
    const response = await fetch(target, {
      method,
      headers: {
        'content-type': 'application/json',
        ...(token !== undefined && { authorization: `Bearer ${token.trim()}` }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]),
    }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new Error(`${target.origin} does not answer: ${causeOf(error)}`, { cause: error });
    });
    if (response.status === 401 && token === undefined)
      throw new Error(`${target.origin} requires a token: pass --token, or set FLEETWIRE_TOKEN`);
    const text = await response.text();
    if (!response.ok) throw new ApiProblem(response.status, problemIn(text));
    return JSON.parse(text) as T;
  }

  return {
    get: (path, query = {}) => request('GET', path, { query }),
    post: (path, body) => request('POST', path, { body }),
    patch: (path, body) => request('PATCH', path, { body }),
  };
}

/** A proxy in front of the API may answer with something else than a problem document. */
function problemIn(text: string): ProblemDocument {
  try {
    return JSON.parse(text) as ProblemDocument;
  } catch {
    return {};
  }
}

function causeOf(error: unknown): string {
  const { message, cause } = error as Error;
  const { code, message: reason } = (cause ?? {}) as { code?: string; message?: string };
  return code ?? reason ?? message;
}
