import { limits } from '@fleetwire/contracts/limits';
import { sessionCookie } from '@fleetwire/contracts/session';
import { PlainData, PlainDataAccepted } from '@fleetwire/contracts/plain-dialect';
import { TelemetryAccepted, TelemetryRequest } from '@fleetwire/contracts/telemetry-http';
import { problemMediaType } from '@fleetwire/runtime/problem';
import Type, { type TSchema } from 'typebox';
import { liveStreamOperations } from './live-stream.ts';
import { plainRoutes } from './plain-routes.ts';
import { exportFormats } from './exports/formats.ts';
import { isRepeated } from './parameters.ts';
import { closed, type Operation } from './route.ts';
import { routes } from './routes.ts';
import { sessionOperations } from './sessions/session-routes.ts';

interface Json {
  readonly [name: string]: unknown;
}

/** The OpenAPI 3.1 document of the public HTTP API, generated from the declarations that serve it. */
export function openApiDocument(): Json {
  const components = new Components();
  const paths: Record<string, Record<string, unknown>> = {};
  const describe = (
    operation: Operation,
    extra: Json = {},
    { base = '/api/v1', shared = sharedProblems } = {},
  ): void => {
    const path = (paths[`${base}${operation.path}`] ??= {});
    path[operation.method] = { ...describeOperation(operation, shared, components), ...extra };
  };
  for (const operation of [...routes, ...liveStreamOperations]) describe(operation);
  for (const operation of sessionOperations)
    describe(operation, operation.operationId === 'signIn' ? { security: [] } : {});
  const ofIngest = { servers: ingestServers };
  for (const operation of ingestOperations) describe(operation, ofIngest, { shared: ingestProblems });
  for (const operation of plainRoutes) describe(operation, {}, { base: '/api' });
  describe(sendPlainData, ofIngest, { base: '/api', shared: ingestProblems });
  const responses = Object.fromEntries(
    Object.keys(problemTitles).map((status) => [`Problem${status}`, problemResponse(Number(status), components)]),
  );
  return {
    openapi: '3.1.1',
    info: {
      title: 'Fleetwire',
      version: '1',
      summary: 'Telemetry of device fleets: send readings, query them',
      description,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'The address of nginx, or of query-api' }],
    security: [{ bearer: [] }, { session: [] }],
    tags: [
      ...new Set([...routes, ...sessionOperations, ...ingestOperations, ...plainRoutes].map(({ tag }) => tag)),
    ].map((name) => ({
      name,
    })),
    paths,
    components: {
      schemas: components.schemas(),
      responses,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: sessionCookie,
          description:
            'Of a browser: POST /api/v1/session. At an address with a port, the name ends with it: fleetwire_session_8000',
        },
      },
    },
  };
}

const description = `A path without a version means the newest: \`/api/devices\` is \`/api/v1/devices\`; but \`/api/status\`, \`/api/data\` and \`/api/control\`
are the plain dialect.

**Times** are RFC 3339, epoch milliseconds, or relative (\`now-6h\`; s, m, h, d, w). Ranges are half-open: \`from\` is included, \`to\` is not.
**Lists** are paged: pass \`page.next\` as \`cursor\` with the same query, or follow the \`Link\` header.
**Errors** are problem documents (RFC 9457). 429 and 503 carry \`Retry-After\`.`;

/** The HTTP operations of ingest-ws, so that one document describes the whole API; their schemas are in contracts. */
const ingestOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/telemetry',
    operationId: 'sendTelemetry',
    tag: 'Telemetry',
    summary: 'Send readings',
    description:
      `Served by ingest-ws, also as \`POST /api/v1/data\`. One element or an array of at most ${limits.readingsPerFrameMax}; ` +
      `at most ${limits.payloadBytesMax} bytes. The answer is sent after the broker's confirm: accepted readings are never lost.`,
    roles: ['device', 'admin'],
    params: closed({}),
    query: closed({}),
    headers: closed({}),
    body: TelemetryRequest,
    success: { status: 202, description: 'Readings accepted and confirmed by the broker', schema: TelemetryAccepted },
    problems: [422],
  },
];

const sendPlainData: Operation = {
  method: 'post',
  path: '/data',
  operationId: 'sendPlainData',
  tag: 'Plain dialect',
  summary: 'Send a reading',
  description: "Served by ingest-ws. The answer is sent after the broker's confirm: the reading is never lost.",
  roles: ['device', 'admin'],
  params: closed({}),
  query: closed({}),
  headers: closed({}),
  body: PlainData,
  success: { status: 200, description: 'The reading, as it is broadcast', schema: PlainDataAccepted },
  problems: [422],
};

/** First the origin of the page, where nginx leads to both services. */
const ingestServers = [
  { url: '/', description: 'The address of nginx, which leads to ingest-ws' },
  {
    url: '{ingest}',
    description: 'ingest-ws itself',
    variables: { ingest: { default: 'http://localhost:8080', description: 'Where ingest-ws listens' } },
  },
];

/** RFC 9457, with one element of `errors` for each invalid field. */
const ProblemDocument = Type.Object(
  {
    type: Type.String({ format: 'uri-reference' }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.Optional(Type.String()),
    instance: Type.Optional(Type.String({ format: 'uri-reference' })),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          field: Type.String({ description: 'The field: `query.limit`, `body.role`' }),
          detail: Type.String({ description: 'What is wrong and what is allowed' }),
        }),
      ),
    ),
  },
  { title: 'Problem' },
);

const problemTitles: Readonly<Record<number, string>> = {
  400: 'Parameters or body are not valid; `errors` names each',
  401: 'The token is missing or not valid',
  403: 'The role may not do this, or a device requested another device',
  404: 'Not found',
  409: 'The request conflicts with the present state',
  410: 'The cursor cannot be used any more; `restart` names where to begin. Or a file that was there is gone',
  412: '`If-Match` names another version than the present one; `current` has its ETag, who changed it and when',
  413: 'The body is too large',
  415: 'The body is compressed in a way, or sent as a type, that is not understood',
  416: 'The file does not have this range',
  422: 'The body or the question breaks a limit; `errors` names the member and the limit, `nearest` a question that is allowed',
  428: '`If-Match` is missing: send the ETag of the version that you have read',
  429: 'Too many requests',
  500: 'Internal error',
  501: 'Not configured in this service',
  503: 'A dependency is unavailable; try again after `Retry-After` seconds',
  504: 'The query took too long and was cancelled; request less',
  507: 'The folder with the files of exports is full',
};

/** Of every operation: parameters and caller are checked, and a session is looked up, before anything else. */
const sharedProblems = [400, 401, 403, 429, 500, 503, 504];
/** ingest-ws uses no database. */
const ingestProblems = [400, 401, 403, 429, 503];
const bodyProblems = [413, 415];

/** Headers that every answer with this status has. */
const problemHeaders: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  401: { 'WWW-Authenticate': 'The scheme, and why a token was refused (RFC 6750)' },
  416: { 'Content-Range': 'The size of the file' },
  429: { 'Retry-After': 'Seconds to wait' },
  503: { 'Retry-After': 'Seconds to wait' },
};
/** Headers that some have. */
const someProblemHeaders: typeof problemHeaders = {
  409: { 'Retry-After': 'Seconds after which it may be otherwise, where only time is needed' },
};

function describeOperation(operation: Operation, shared: readonly number[], components: Components): Json {
  const { operationId, tag, summary, description: text, roles, params, query, headers } = operation;
  const { body, bodyType = 'application/json', bodyExample, success, problems } = operation;
  const isConditional = operation.conditional === true && operation.method === 'get';
  return {
    operationId,
    tags: [tag],
    summary,
    description: `${text ? `${text}\n\n` : ''}Roles: ${roles.join(', ')}.`,
    parameters: [
      ...parameters('path', params, components),
      ...parameters('query', query, components),
      ...parameters('header', headers, components),
      ...(isConditional ? [ifNoneMatch] : []),
    ],
    ...(body && {
      requestBody: {
        required: true,
        content: {
          [bodyType]: {
            schema: components.reference(body),
            ...(bodyExample !== undefined && { example: bodyExample }),
          },
        },
      },
    }),
    responses: {
      [success.status]: {
        description: success.description,
        ...describeHeaders({ ...success.headers, ...headersOf(operation) }),
        ...(success.status !== 204 && { content: contentOf(operation, components) }),
      },
      ...(isConditional && {
        304: {
          description: 'The answer has not changed: it is the one with this ETag',
          ...describeHeaders(headersOf(operation, ['ETag', 'Link'])),
        },
      }),
      ...(success.alternative && {
        [success.alternative.status]: {
          description: success.alternative.description,
          ...describeHeaders({ ...success.headers, ...success.alternative.headers }),
          content: { 'application/json': { schema: components.reference(success.alternative.schema) } },
        },
      }),
      ...(success.parts && describeParts(success.parts, contentOf(operation, components))),
      ...Object.fromEntries(
        [...new Set([...shared, ...(body ? bodyProblems : []), ...problems])].map((status) => [
          status,
          { $ref: `#/components/responses/Problem${status}` },
        ]),
      ),
    },
  };
}

const ifNoneMatch: Json = {
  name: 'if-none-match',
  in: 'header',
  required: false,
  description: 'The ETag of an earlier answer: 304 if it has not changed',
  schema: { type: 'string' },
};
const tagHeader = { ETag: 'Of the answer; not while its range has not ended' };

/** Headers that follow from what the operation is. */
function headersOf(operation: Operation, only?: readonly string[]): Record<string, string> {
  const { conditional, question, query } = operation;
  const headers = {
    ...(conditional === true && tagHeader),
    ...('cursor' in query.properties && { Link: 'The next page (RFC 8288), if there is one' }),
    ...(question === true && {
      'X-Fleetwire-Stale': 'The database is unavailable, and this is its last good answer: its age in seconds',
    }),
    ...(isStreamable(operation) && {
      'Content-Disposition': 'The name of a stream',
      'X-Fleetwire-Complete-Until':
        'Of a stream: every reading that was acknowledged before this time is in it, or is a dead letter',
      'X-Fleetwire-Estimated-Rows': 'Of a stream: about how many rows it has',
      'X-Fleetwire-Error-Tag': 'Of a stream of lines: the member of a last line that says that it failed',
    }),
  };
  return Object.fromEntries(Object.entries(headers).filter(([name]) => only === undefined || only.includes(name)));
}

/** The answer may be asked for as a stream. */
function isStreamable({ query, body, success }: Operation): boolean {
  const { properties = {} } = (body ?? {}) as { readonly properties?: object };
  return success.status === 200 && ('format' in query.properties || 'format' in properties);
}

function contentOf(operation: Operation, components: Components): Json {
  const { schema, example, contentType = 'application/json', parts } = operation.success;
  const binary = { schema: { type: 'string', format: 'binary' } };
  const formats = exportFormats.filter(({ mediaType }) => parts !== undefined || mediaType !== contentType);
  const isStream = parts !== undefined || isStreamable(operation);
  return {
    ...(parts === undefined && {
      [contentType]: { schema: components.reference(schema), ...(example !== undefined && { example }) },
    }),
    ...(isStream && Object.fromEntries(formats.map(({ mediaType }) => [mediaType, binary]))),
  };
}

/** Of a file (RFC 9110, 14 and 13.1.2). */
function describeParts(headers: Readonly<Record<string, string>>, content: Json): Json {
  const range = { 'Content-Range': 'Which part this is, and the size of the file' };
  return {
    206: {
      description: 'The part of the file that `Range` names',
      ...describeHeaders({ ...headers, ...range }),
      content,
    },
    304: { description: 'The file is the one with the ETag in `If-None-Match`', ...describeHeaders(headers) },
  };
}

function describeHeaders(headers: Readonly<Record<string, string>>, required = false): Json {
  const entries = Object.entries(headers);
  if (entries.length === 0) return {};
  return {
    headers: Object.fromEntries(
      entries.map(([name, meaning]) => [
        name,
        { description: meaning, ...(required && { required }), schema: { type: 'string' } },
      ]),
    ),
  };
}

function parameters(where: 'path' | 'query' | 'header', schema: Operation['query'], components: Components): Json[] {
  const required = new Set((schema as { required?: string[] }).required);
  return Object.entries(
    schema.properties as Record<string, TSchema & { default?: unknown; description?: string; type?: string }>,
  ).map(([name, property]) => ({
    name,
    in: where,
    required: where === 'path' || (required.has(name) && property.default === undefined),
    ...(property.description && { description: property.description }),
    ...(property.type === 'array' && { style: 'form', explode: isRepeated(property) }),
    schema: components.reference(property),
  }));
}

function problemResponse(status: number, components: Components): Json {
  return {
    description: problemTitles[status],
    ...describeHeaders(someProblemHeaders[status] ?? {}),
    ...describeHeaders(problemHeaders[status] ?? {}, true),
    content: { [problemMediaType]: { schema: components.reference(ProblemDocument) } },
  };
}

/** Schemas with a title become components and are referred to by it. */
class Components {
  readonly #named = new Map<string, unknown>();

  reference(schema: unknown): unknown {
    if (Array.isArray(schema)) return schema.map((item) => this.reference(item));
    if (typeof schema !== 'object' || schema === null) return schema;
    const { title } = schema as { title?: unknown };
    if (typeof title !== 'string') return this.#members(schema);
    if (!this.#named.has(title)) {
      this.#named.set(title, undefined); // reserved first: a schema may contain itself
      this.#named.set(title, this.#members(schema));
    }
    return { $ref: `#/components/schemas/${title}` };
  }

  schemas(): Json {
    return Object.fromEntries([...this.#named].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #members(schema: object): Json {
    return Object.fromEntries(
      Object.entries(inOpenApi(schema)).map(([name, member]) => [name, this.reference(member)]),
    );
  }
}

/** The members of a tuple have another name in OpenAPI 3.1 (JSON Schema 2020-12) than in the schemas of TypeBox. */
function inOpenApi(schema: object): object {
  const { items, additionalItems, ...rest } = schema as { items?: unknown; additionalItems?: unknown };
  return Array.isArray(items) ? { ...rest, prefixItems: items, items: additionalItems } : schema;
}
