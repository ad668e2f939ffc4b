import { limits } from '@fleetwire/contracts/limits';
import { TelemetryAccepted, TelemetryRequest } from '@fleetwire/contracts/telemetry-http';
import { problemMediaType } from '@fleetwire/runtime/problem';
import Type, { type TSchema } from 'typebox';
import { closed, type Operation } from './route.ts';
import { routes } from './routes.ts';

interface Json {
  readonly [name: string]: unknown;
}

/** The OpenAPI 3.1 document of the public HTTP API, generated from the declarations that serve it. */
export function openApiDocument(): Json {
  const components = new Components();
  const paths: Record<string, Record<string, unknown>> = {};
  const describe = (operation: Operation, extra: Json): void => {
    const path = (paths[`/api/v1${operation.path}`] ??= {});
    path[operation.method] = { ...describeOperation(operation, components), ...extra };
  };
  for (const route of routes) describe(route, {});
  for (const operation of ingestOperations) describe(operation, { servers: ingestServers });
  const responses = Object.fromEntries(
    Object.entries(problemTitles).map(([status, text]) => [`Problem${status}`, problemResponse(text, components)]),
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
    servers: [{ url: '/', description: 'query-api' }],
    security: [{ bearer: [] }],
    tags: [...new Set([...routes, ...ingestOperations].map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: components.schemas(),
      responses,
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
  };
}

const description = `A path without a version means the newest: \`/api/devices\` is \`/api/v1/devices\`.

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
      `Served by ingest-ws, also as \`POST /api/data\`. One element or an array of at most ${limits.readingsPerFrameMax}; ` +
      `at most ${limits.payloadBytesMax} bytes. The answer is sent after the broker's confirm: accepted readings are never lost.`,
    roles: ['device', 'admin'],
    params: closed({}),
    query: closed({}),
    body: TelemetryRequest,
    success: { status: 202, description: 'Readings accepted and confirmed by the broker', schema: TelemetryAccepted },
    problems: [413],
  },
];

const ingestServers = [
  {
    url: '{ingest}',
    description: 'ingest-ws',
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
  413: 'The body is too large',
  429: 'Too many requests',
  500: 'Internal error',
  501: 'Not configured in this service',
  503: 'A dependency is unavailable; try again after `Retry-After` seconds',
  504: 'The query took too long and was cancelled; request less',
};

const sharedProblems = [400, 401, 403, 429, 500, 503, 504];

function describeOperation(operation: Operation, components: Components): Json {
  const { operationId, tag, summary, description: text, roles, params, query, body, success, problems } = operation;
  return {
    operationId,
    tags: [tag],
    summary,
    description: `${text ? `${text}\n\n` : ''}Roles: ${roles.join(', ')}.`,
    parameters: [...parameters('path', params, components), ...parameters('query', query, components)],
    ...(body && {
      requestBody: { required: true, content: { 'application/json': { schema: components.reference(body) } } },
    }),
    responses: {
      [success.status]: {
        description: success.description,
        content: { 'application/json': { schema: components.reference(success.schema) } },
      },
      ...Object.fromEntries(
        [...new Set([...sharedProblems, ...problems])].map((status) => [
          status,
          { $ref: `#/components/responses/Problem${status}` },
        ]),
      ),
    },
  };
}

function parameters(where: 'path' | 'query', schema: Operation['query'], components: Components): Json[] {
  const required = new Set((schema as { required?: string[] }).required);
  return Object.entries(
    schema.properties as Record<string, TSchema & { default?: unknown; description?: string; type?: string }>,
  ).map(([name, property]) => ({
    name,
    in: where,
    required: where === 'path' || (required.has(name) && property.default === undefined),
    ...(property.description && { description: property.description }),
    ...(property.type === 'array' && { style: 'form', explode: false }),
    schema: components.reference(property),
  }));
}

function problemResponse(text: string, components: Components): Json {
  return { description: text, content: { [problemMediaType]: { schema: components.reference(ProblemDocument) } } };
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
    return Object.fromEntries(Object.entries(schema).map(([name, member]) => [name, this.reference(member)]));
  }
}
