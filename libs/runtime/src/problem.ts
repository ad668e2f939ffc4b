import type { ServerResponse } from 'node:http';

export const problemMediaType = 'application/problem+json';

/** One invalid part of a request. */
export interface FieldProblem {
  /** Its place, such as `query.limit` or `body[3].metrics.temperature`. */
  readonly field: string;
  /** What is wrong with it, and what is allowed. */
  readonly detail: string;
  readonly [extension: string]: unknown;
}

export interface ProblemOptions {
  readonly detail?: string;
  readonly errors?: readonly FieldProblem[];
  /** Further members of the document (RFC 9457, 3.2). */
  readonly extensions?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** The body of an RFC 9457 response. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly errors?: readonly FieldProblem[];
}

/** An error with its HTTP response (RFC 9457). Handlers throw it, `writeProblems` sends it. */
export class Problem extends Error {
  readonly status: number;
  readonly type: string;
  readonly title: string;
  readonly detail: string | undefined;
  readonly errors: readonly FieldProblem[] | undefined;
  readonly extensions: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, title: string, options: ProblemOptions = {}) {
    super(options.detail ?? title, { cause: options.cause });
    this.name = 'Problem';
    this.status = status;
    this.title = title;
    this.type = `urn:fleetwire:problem:${title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`;
    this.detail = options.detail;
    this.errors = options.errors;
    this.extensions = options.extensions ?? {};
    this.headers = options.headers ?? {};
  }

  toJSON(): ProblemDocument {
    const { type, title, status, detail, errors, extensions } = this;
    return {
      type,
      title,
      status,
      ...(detail && { detail }),
      ...(errors && { errors }),
      ...extensions,
    };
  }
}

export function badRequest(detail: string, errors?: readonly FieldProblem[]): Problem {
  return new Problem(400, 'Bad request', { detail, ...(errors && { errors }) });
}

/** The request is well formed, but breaks a limit or a rule (RFC 9110, 15.5.21). */
export function unprocessable(detail: string, errors?: readonly FieldProblem[]): Problem {
  return new Problem(422, 'Unprocessable content', { detail, ...(errors && { errors }) });
}

/** @param error the RFC 6750 error code; omitted when the request carries no credentials */
export function unauthorized(detail: string, error?: 'invalid_token' | 'invalid_request'): Problem {
  const challenge = error ? `Bearer realm="fleetwire", error="${error}"` : 'Bearer realm="fleetwire"';
  return new Problem(401, 'Unauthorized', { detail, headers: { 'WWW-Authenticate': challenge } });
}

export function forbidden(detail: string): Problem {
  return new Problem(403, 'Forbidden', { detail });
}

export function notFound(detail: string): Problem {
  return new Problem(404, 'Not found', { detail });
}

export function methodNotAllowed(allowed: readonly string[]): Problem {
  const list = allowed.join(', ');
  return new Problem(405, 'Method not allowed', {
    detail: `This route supports ${list}`,
    headers: { Allow: list },
  });
}

export function payloadTooLarge(payloadBytesMax: number): Problem {
  return new Problem(413, 'Payload too large', {
    detail: `The body may hold at most ${payloadBytesMax} bytes`,
  });
}

/** @param extensions say which limit: `{ limit: 'calls-per-minute' }` */
export function tooManyRequests(
  detail: string,
  retryAfterMs: number,
  extensions: ProblemOptions['extensions'] = {},
): Problem {
  return new Problem(429, 'Too many requests', { detail, headers: retryAfter(retryAfterMs), extensions });
}

export function notImplemented(detail: string): Problem {
  return new Problem(501, 'Not implemented', { detail });
}

export function unavailable(detail: string, retryAfterMs: number): Problem {
  return new Problem(503, 'Service unavailable', { detail, headers: retryAfter(retryAfterMs) });
}

/** Sends a problem as the HTTP response, with or without express. */
export function sendProblem(response: ServerResponse, problem: Problem): void {
  const body = Buffer.from(JSON.stringify(problem));
  response.writeHead(problem.status, {
    ...problem.headers,
    'Content-Type': problemMediaType,
    'Content-Length': body.length,
  });
  response.end(body);
}

function retryAfter(milliseconds: number): Record<string, string> {
  return { 'Retry-After': String(Math.max(1, Math.ceil(milliseconds / 1000))) };
}
