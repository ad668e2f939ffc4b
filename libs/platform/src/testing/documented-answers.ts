import { appendFileSync, readFileSync } from 'node:fs';
import { subscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Compile, type Validator } from 'typebox/schema';
import { afterAll, afterEach } from 'vitest';

/**
 * Compares every HTTP answer of services that run in this process with docs/openapi.json, for every client and every way of asking: its status, its headers, its
 * media type, and its body where that is JSON and not streamed. What differs fails the test in which it was answered. What was answered is
 * written to the file EXERCISED_FILE, by which `npm test` finds documented answers that no test exercises.
 */

interface DocumentedResponse {
  readonly $ref?: string;
  readonly headers?: Readonly<Record<string, { readonly required?: boolean }>>;
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}

interface DocumentedOperation {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, DocumentedResponse>>;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: { readonly responses: Readonly<Record<string, DocumentedResponse>> };
}

const document = JSON.parse(
  readFileSync(new URL('../../../../docs/openapi.json', import.meta.url), 'utf8'),
) as Document;

/** The more of it is literal, the earlier. */
const paths = Object.entries(document.paths)
  .map(([template, methods]) => ({
    template,
    methods,
    pattern: new RegExp(`^${template.replace(/\{\w+\}/g, '[^/]+')}/?$`),
    parameters: template.split('{').length,
  }))
  .sort((a, b) => a.parameters - b.parameters);

/** Headers by which clients act: one that is sent has to be documented. */
const meaningful = /^(etag|link|location|retry-after|www-authenticate|set-cookie|content-range|x-fleetwire-.*)$/;

const ports = new Set<number>();
const differences: string[] = [];
const exercised = new Set<string>();
const validators = new Map<object, Validator>();

/** @param url of a service in this process */
export function compareAnswersOf(url: string): void {
  ports.add(Number(new URL(url).port));
}

function operationOf(method: string, url: string): DocumentedOperation | undefined {
  const path = url.split('?', 1)[0]!;
  // A path without a version means the newest, but for the plain dialect.
  const found =
    paths.find(({ pattern }) => pattern.test(path)) ??
    paths.find(({ pattern }) => pattern.test(path.replace(/^\/api\/(?!v\d)/, '/api/v1/')));
  return found?.methods[method === 'HEAD' ? 'get' : method.toLowerCase()];
}

interface Started {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
}

subscribe('http.server.request.start', (message) => {
  const { request, response, socket } = message as Started;
  const { method = 'GET', url = '/' } = request;
  const operation = ports.has(socket.localPort ?? 0) ? operationOf(method, url) : undefined;
  if (operation === undefined) return;
  let isCompared = false;
  const write = response.write.bind(response);
  const end = response.end.bind(response);
  /** Once Node has written the headers: with the whole answer, or the beginning of a stream. */
  const compareOnce = (text?: string): void => {
    if (isCompared) return;
    isCompared = true;
    const found = compare(operation, response, text);
    differences.push(...found.map((difference) => `${method} ${url} ${response.statusCode}: ${difference}`));
  };
  response.write = ((...args: Parameters<typeof write>) => {
    const isTaken = write(...args);
    compareOnce();
    return isTaken;
  }) as typeof write;
  response.end = ((...args: Parameters<typeof end>) => {
    const [content] = args as readonly unknown[];
    const ended = end(...args);
    const isWhole = method !== 'HEAD' && (typeof content === 'string' || Buffer.isBuffer(content));
    compareOnce(isWhole ? String(content) : undefined);
    return ended;
  }) as typeof end;
});

function compare({ operationId, responses }: DocumentedOperation, response: ServerResponse, text?: string): string[] {
  const { statusCode: status } = response;
  // The client has closed the connection and gets no answer.
  if (status === 499) return [];
  const found = responses[status];
  if (found === undefined) return [`the document of ${operationId} has no such answer`];
  exercised.add(`${operationId} ${status}`);
  const { headers = {}, content } =
    found.$ref === undefined ? found : document.components.responses[found.$ref.split('/').at(-1)!]!;
  const sent = response.getHeaderNames();
  const documented = new Map(Object.entries(headers).map(([name, header]) => [name.toLowerCase(), header]));
  const differing = [
    ...sent.filter((name) => meaningful.test(name) && !documented.has(name)).map((name) => `undocumented ${name}`),
    ...[...documented].filter(([name, { required }]) => required && !sent.includes(name)).map(([name]) => `no ${name}`),
  ];
  const type = String(response.getHeader('content-type') ?? '').split(';', 1)[0]!;
  if (content === undefined) return text === undefined || text === '' ? differing : [...differing, 'a body'];
  const schema = content[type]?.schema;
  if (schema === undefined) return [...differing, `the document has no ${type || 'answer without a type'}`];
  if (text === undefined || !/[/+]json$/.test(type)) return differing;
  const answer: unknown = JSON.parse(text);
  const validator = validatorOf(schema);
  if (validator.Check(answer)) return differing;
  const [, errors] = validator.Errors(answer);
  return [...differing, ...errors.slice(0, 5).map(({ instancePath, message }) => `body${instancePath} ${message}`)];
}

function validatorOf(schema: object): Validator {
  const known = validators.get(schema);
  if (known !== undefined) return known;
  const compiled = Compile({ ...schema, components: document.components } as never) as Validator;
  validators.set(schema, compiled);
  return compiled;
}

function failOnDifferences(): void {
  const found = new Set(differences.splice(0));
  if (found.size > 0) throw new Error(`Answers that docs/openapi.json does not describe:\n${[...found].join('\n')}`);
}

afterEach(failOnDifferences);
afterAll(() => {
  const { EXERCISED_FILE: file } = process.env;
  if (file !== undefined) appendFileSync(file, [...exercised].map((line) => `${line}\n`).join(''));
  failOnDifferences();
});
