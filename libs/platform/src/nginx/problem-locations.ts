/** A document that nginx answers by itself (RFC 9457), in the form that the services use. */
interface NginxProblem {
  readonly status: number;
  /** Conditions of nginx that are answered with it; the status itself without them. */
  readonly conditions?: readonly number[];
  readonly title: string;
  /** Nginx inserts variables into it, so it contains no other `$`, and no quotes or backslashes. */
  readonly detail: string;
  readonly retryAfterSeconds?: number;
}

export interface ProblemLimits {
  readonly bodyBytesMax: number;
}

const unavailableSeconds = 2;

function problems({ bodyBytesMax }: ProblemLimits): NginxProblem[] {
  return [
    { status: 400, title: 'Bad request', detail: 'The request is not valid HTTP; in an address, % is written %25' },
    {
      status: 404,
      title: 'Not found',
      detail:
        'No route matches; the routes are / and its views, /ws, those below /api/ (described at /docs), /docs and /redoc',
    },
    { status: 405, title: 'Method not allowed', detail: 'This method is not supported' },
    { status: 408, title: 'Request timeout', detail: 'The request did not arrive in time; send it again' },
    { status: 413, title: 'Payload too large', detail: `The body may hold at most ${bodyBytesMax} bytes` },
    { status: 414, title: 'URI too long', detail: 'The request line may hold at most 16384 bytes' },
    {
      status: 431,
      conditions: [494],
      title: 'Request header fields too large',
      detail: 'A header may hold at most 16384 bytes',
    },
    {
      status: 400,
      conditions: [495, 496, 497],
      title: 'Bad request',
      detail: 'This port serves HTTPS: use https:// or wss:// in the address',
    },
    {
      status: 429,
      title: 'Too many requests',
      detail: '$fleetwire_limit',
      retryAfterSeconds: 1,
    },
    { status: 500, title: 'Internal server error', detail: 'Unexpected failure in the proxy; its log has the details' },
    {
      status: 502,
      title: 'Bad gateway',
      detail: 'No instance of the service answers; send the request again',
      retryAfterSeconds: unavailableSeconds,
    },
    {
      status: 503,
      title: 'Service unavailable',
      detail: 'The proxy cannot take the request now; send it again',
      retryAfterSeconds: unavailableSeconds,
    },
    {
      status: 504,
      title: 'Gateway timeout',
      detail: 'The service did not answer in time; request less, or send the request again',
      retryAfterSeconds: unavailableSeconds,
    },
  ];
}

/** A request that nginx refuses before it knows the path has none: a redirect to a named location fails there (ngx_http_named_location), and is a 500. */
const refusedUnread = [400, 408, 414, 494];

/** One location for each problem, and the `error_page` lines that lead to them. */
export function problemLocations(limits: ProblemLimits, headers: readonly string[]): string[] {
  return problems(limits).flatMap(({ status, conditions = [status], title, detail, retryAfterSeconds }) => {
    const isUnread = refusedUnread.includes(conditions[0]!);
    const name = `${isUnread ? '/' : '@'}problem_${conditions[0]}`;
    const type = `urn:fleetwire:problem:${title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`;
    return [
      `error_page ${conditions.join(' ')} ${name};`,
      `location ${isUnread ? '= ' : ''}${name} {`,
      ...(isUnread ? ['  internal;'] : []),
      '  default_type application/problem+json;',
      ...headers.map((line) => `  ${line}`),
      ...(retryAfterSeconds === undefined ? [] : [`  add_header Retry-After ${retryAfterSeconds} always;`]),
      `  return ${status} '${JSON.stringify({ type, title, status, detail })}';`,
      '}',
    ];
  });
}
