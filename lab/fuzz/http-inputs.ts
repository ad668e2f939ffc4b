import fc from 'fast-check';
import { textsOf, valuesOf } from './from-schema.ts';
import { type JsonTree, jsonText } from './json-tree.ts';
import { damage, nastyText, nastyTexts } from './nasty.ts';
import type { ApiDescription, ApiOperation } from './openapi.ts';
import { type Message, telemetryBodies } from './telemetry-inputs.ts';

export interface HttpInput {
  /** For the report: routes are counted together by it. */
  readonly group: string;
  /** For the signature of a finding: `GET /api/v1/devices/{id}`. */
  readonly operation: string;
  readonly service: 'query-api' | 'ingest-ws';
  readonly method: string;
  /** Parts of the path; parameters are texts that are still to be encoded. */
  readonly path: readonly PathPart[];
  readonly query: readonly (readonly [string, string])[];
  readonly token: TokenName;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Message | undefined;
}

export type PathPart = { readonly verbatim: string } | { readonly parameter: string };

const tokenNames = ['device', 'analyst', 'operator', 'admin', 'none', 'garbage', 'foreign', 'nasty'] as const;
export type TokenName = (typeof tokenNames)[number];

/** The subjects of valid tokens. */
export const tokenSubjects: Readonly<Partial<Record<TokenName, string>>> = {
  device: 'fuzz-http',
  analyst: 'ada',
  operator: 'oscar',
  admin: 'grace',
};

/** Texts that stand for what an earlier answer held; the sender puts that in their place. */
export const placeholders = ['@cursor', '@dead-letter', '@replay'] as const;

/** Devices that inputs name. */
const httpDevices = ['fuzz-http', 'fuzz-http-2'] as const;

/** Mostly tokens of these roles. */
const tokensOf = (...usual: readonly TokenName[]) =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...usual) },
    { weight: 1, arbitrary: fc.constantFrom(...tokenNames) },
  );

const headerValue = fc.oneof(
  fc.constantFrom(...nastyTexts).map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '')),
  fc.constantFrom('gzip', 'br', 'deflate', 'identity', '0', '-1', 'bytes=0-', 'x'.repeat(4_000), '00-0-0-0', '*/*'),
);
const headerNames = [
  ['accept', 'accept-encoding', 'accept-language', 'content-encoding', 'content-type', 'content-language', 'cookie'],
  ['expect', 'forwarded', 'host', 'if-match', 'if-modified-since', 'if-none-match', 'origin', 'range', 'referer', 'te'],
  ['traceparent', 'tracestate', 'user-agent', 'via', 'x-forwarded-for', 'x-forwarded-proto', 'x-request-id'],
  ['x-http-method-override', 'authorization', '__proto__', 'constructor'],
].flat();
const contentTypes = [
  ['application/json', 'application/json', 'application/json', 'application/json; charset=utf-16', 'text/plain'],
  ['application/merge-patch+json', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=', ';'],
].flat();
const headers = fc
  .tuple(
    fc.oneof(
      { weight: 12, arbitrary: fc.constant('application/json') },
      { weight: 1, arbitrary: fc.constantFrom(...contentTypes) },
    ),
    fc.oneof(
      { weight: 8, arbitrary: fc.constant([]) },
      {
        weight: 1,
        arbitrary: fc.array(fc.tuple(fc.constantFrom(...headerNames), headerValue), { minLength: 1, maxLength: 3 }),
      },
    ),
  )
  .map(([type, extra]) => ({ 'content-type': type, ...Object.fromEntries(extra) }));

const otherMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'];
const methodOf = (method: string) =>
  fc.oneof({ weight: 20, arbitrary: fc.constant(method) }, { weight: 1, arbitrary: fc.constantFrom(...otherMethods) });

const base64Json = (value: unknown) => Buffer.from(JSON.stringify(value) ?? '').toString('base64url');
const cursors = fc.oneof(
  fc.constant('@cursor'),
  fc.constantFrom('@cursorA', 'A@cursor', '@cursor.'),
  fc.jsonValue().map(base64Json),
  fc
    .constantFrom(-1, 1e300, '\0', null, '9223372036854775808')
    .map((number) => base64Json({ number, ts: number, seq: number })),
);
/** Of questions about history: combinations that are valid, nearly valid, or beyond a limit. */
const questionHints: Readonly<Record<string, readonly string[]>> = {
  metrics: ['temperature', 'temperature,humidity', 'door open', 'é,0,a.b', 'nothing'],
  metric: ['a,b', 'temperature'],
  pattern: ['*', 'fuzz-*', '?uzz-http*', '*a*b*c*d*'],
  devices: ['fuzz-http', 'fuzz-http,fuzz-http-2,neighbour,unregistered'],
  agg: [
    'avg',
    'p95',
    'p0.1,p100',
    'rate,increase,delta',
    'm4',
    'state,distinct',
    'twavg,stddev',
    'first,last,count,sum,min,max',
  ],
  from: ['now-1h', 'now-5m', 'now-26w', '1970-01-01', '2026-03-29', 'now'],
  to: ['now', 'now+1d', '9999-12-31', '2026-10-25'],
  interval: ['1s', '10s', '1m', '1h', '6h', '1d', '1w', '1mo', '1y', '7mo'],
  maxPoints: ['10', '100', '4000'],
  tz: ['UTC', 'Europe/Berlin', 'Australia/Lord_Howe', 'Pacific/Apia', 'America/Nowhere'],
  groupBy: ['none', 'type', 'tag:site', 'device'],
  by: ['device', 'type', 'tag:site', 'arrival', 'receivedAt'],
  where: ['temperature>0', 'temperature!=1e308', 'humidity>NaN', 'a<b<=1'],
  offset: ['1h', '7d', '1mo'],
  edges: ['0,10,20', '-1e308,1e308', '1,1', '0,NaN'],
  fill: ['locf', 'linear', 'none'],
  downsample: ['lttb'],
};
/** Without these, most questions would be refused for what they lack. */
const usualParameters = ['metrics', 'pattern'];

const parameterHints: Readonly<Record<string, fc.Arbitrary<string>>> = {
  ...Object.fromEntries(Object.entries(questionHints).map(([name, values]) => [name, fc.constantFrom(...values)])),
  cursor: cursors,
  deviceId: fc.constantFrom(...httpDevices, 'neighbour'),
  limit: fc.oneof(fc.integer({ min: -1, max: 5_001 }).map(String), nastyText),
};

/** Inputs of one operation of the API document. */
function inputsOf(operation: ApiOperation, { resolve }: ApiDescription): fc.Arbitrary<HttpInput> {
  const { service, method, tag } = operation;
  const texts = ({ name, schema }: ApiOperation['parameters'][number]) => {
    const hint = name === 'id' ? idsFor(operation) : parameterHints[name];
    const own = schema.enum ? fc.constantFrom(...schema.enum.map(String)) : textsOf(schema);
    return hint === undefined
      ? fc.oneof({ weight: 3, arbitrary: own }, { weight: 1, arbitrary: nastyText })
      : fc.oneof({ weight: 2, arbitrary: hint }, { weight: 1, arbitrary: nastyText });
  };
  const inPath = operation.parameters.filter(({ in: where }) => where === 'path');
  const inHeaders = operation.parameters.filter(({ in: where }) => where === 'header');
  const inQuery = operation.parameters.filter(({ in: where }) => where === 'query');
  const path = fc.tuple(...inPath.map(texts)).map((values) => pathOf(operation.path, values));
  const known = inQuery.map((parameter) => fc.tuple(fc.constant(parameter.name), texts(parameter)));
  const usual = inQuery
    .filter(({ name }) => usualParameters.includes(name))
    .map(({ name }) => fc.tuple(fc.constant(name), parameterHints[name]!));
  const query = fc
    .tuple(
      fc.oneof({ weight: 2, arbitrary: fc.tuple(...usual) }, { weight: 1, arbitrary: fc.constant([]) }),
      known.length === 0 ? fc.constant([]) : fc.array(fc.oneof(...known), { maxLength: 4 }),
      strayParameters(inQuery.map(({ name }) => name)),
    )
    .map((lists) => lists.flat());
  return fc.record({
    group: fc.constant(tag),
    operation: fc.constant(`${method} ${operation.path}`),
    service: fc.constant(service),
    method: methodOf(method),
    path,
    query,
    token:
      service === 'ingest-ws'
        ? tokensOf('device', 'admin')
        : tokensOf('admin', 'admin', 'operator', 'operator', 'analyst', 'device'),
    headers: fc
      .tuple(headers, fc.tuple(...inHeaders.map(headerOf)))
      .map(([usual, own]) => ({ ...usual, ...Object.fromEntries(own.flat()) })),
    body: bodiesOf(operation, resolve),
  });
}

/** A header that the operation reads; sometimes it is missing. Bytes that HTTP does not allow in headers are left out. */
function headerOf({
  name,
  schema,
}: ApiOperation['parameters'][number]): fc.Arbitrary<readonly (readonly [string, string])[]> {
  const value = fc.oneof({ weight: 6, arbitrary: textsOf(schema) }, { weight: 1, arbitrary: headerValue });
  const allowed = value.map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, ''));
  return fc.oneof(
    { weight: 9, arbitrary: allowed.map((text) => [[name, text] as const]) },
    { weight: 1, arbitrary: fc.constant([]) },
  );
}

function bodiesOf(
  { service, body }: ApiOperation,
  resolve: ApiDescription['resolve'],
): fc.Arbitrary<Message | undefined> {
  if (service === 'ingest-ws') return telemetryBodies(httpDevices);
  if (body === undefined)
    return fc.oneof(
      { weight: 9, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constant(() => Buffer.from('{}')) },
    );
  const ids: fc.Arbitrary<JsonTree> = fc.array(fc.oneof(fc.constant('@dead-letter'), nastyText), { maxLength: 3 });
  const hints = {
    ids,
    deviceId: fc.constantFrom<JsonTree>(...httpDevices, 'fuzz-registry', 'fuzz-registry-2'),
    from: fc.constantFrom<JsonTree>('now-1h', 'now'),
    interval: fc.constantFrom<JsonTree>(...questionHints['interval']!),
    tz: fc.constantFrom<JsonTree>(...questionHints['tz']!),
    pattern: fc.constantFrom<JsonTree>(...questionHints['pattern']!),
  };
  return fc.tuple(valuesOf(body, { resolve, hints }), damage).map(
    ([tree, damaged]) =>
      (firstFreeSeq: number) =>
        damaged(Buffer.from(jsonText(tree, firstFreeSeq))),
  );
}

function idsFor({ method, path }: ApiOperation): fc.Arbitrary<string> {
  if (path.includes('replays')) return fc.constant('@replay');
  if (path.includes('dead-letters')) return fc.constant('@dead-letter');
  // Erased readings would be missed by the comparison.
  if (method !== 'GET') return fc.constantFrom('fuzz-registry', 'fuzz-registry-2');
  return fc.constantFrom(...httpDevices, 'neighbour');
}

/** Sometimes an unknown parameter, or one more of the same name. */
function strayParameters(names: readonly string[]): fc.Arbitrary<readonly (readonly [string, string])[]> {
  const name = fc.oneof(fc.constantFrom('__proto__', 'limit[]', 'q[a]', ...names), nastyText);
  return fc.oneof(
    { weight: 10, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(fc.tuple(name, nastyText), { minLength: 1, maxLength: 3 }) },
  );
}

function pathOf(template: string, values: readonly string[]): PathPart[] {
  const [first, ...rest] = template.split(/\{\w+\}/);
  return [
    { verbatim: first ?? '' },
    ...rest.flatMap((text, index) => [{ parameter: values[index] ?? '' }, { verbatim: text }]),
  ];
}

const otherPaths = [
  [
    '/',
    '//',
    '/healthz',
    '/readyz',
    '/metrics',
    '/openapi.json',
    '/docs',
    '/docs/',
    '/docs/../..',
    '/redoc',
    '/ws',
    '/state',
  ],
  [
    '/api',
    '/api/',
    '/api/v1',
    '/api/v1/',
    '/api/v2/devices',
    '/api/devices',
    '/api/data',
    '/api//devices',
    '/api/v1//devices',
  ],
  [
    '/api/v1/devices/%',
    '/api/v1/devices/%00',
    '/api/v1/devices/%ff',
    '/api/v1/devices/%ed%a0%80',
    '/api/v1/devices/%2e%2e',
  ],
  [
    '/api/v1/devices/a/../b',
    '/api/v1/devices;x=1',
    '/API/V1/DEVICES',
    '/%61pi/v1/devices',
    '/favicon.ico',
    '/.git/config',
  ],
].flat();

/** Paths beside those of the API document. */
const otherInputs: fc.Arbitrary<HttpInput> = fc.record({
  group: fc.constant('other paths'),
  operation: fc.constant('another path'),
  service: fc.constantFrom('query-api', 'ingest-ws'),
  method: methodOf('GET'),
  path: fc.oneof(
    fc.constantFrom(...otherPaths).map((verbatim) => [{ verbatim }]),
    fc
      .array(nastyText, { minLength: 1, maxLength: 4 })
      .map((parts) => parts.flatMap((parameter) => [{ verbatim: '/' }, { parameter }])),
  ),
  query: strayParameters([]),
  token: tokensOf('admin', 'device'),
  headers,
  body: fc.constant(undefined),
});

export function apiInputs(api: ApiDescription): fc.Arbitrary<HttpInput> {
  const operations = api.operations.filter(({ service }) => service === 'query-api');
  return fc.oneof(...operations.map((operation) => inputsOf(operation, api)), otherInputs);
}

export function telemetryInputs(api: ApiDescription): fc.Arbitrary<HttpInput> {
  const operations = api.operations.filter(({ service }) => service === 'ingest-ws');
  return fc.oneof(...operations.map((operation) => inputsOf(operation, api)));
}
