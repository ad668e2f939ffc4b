import type { Arbitrary } from 'fast-check';
import { answerClass } from './answer-class.ts';
import { type HttpAnswer, HttpClient, type HttpRequest } from './http-client.ts';
import { type HttpInput, type PathPart, type TokenName, placeholders, tokenSubjects } from './http-inputs.ts';
import type { FreshNumbers, Promises } from './promises.ts';
import { promisedBy } from './promised-by-http.ts';
import { type Finding, type Subject, shown } from './subject.ts';
import type { Tally } from './tally.ts';

export interface HttpSubjectOptions {
  readonly name: string;
  readonly inputs: Arbitrary<HttpInput>;
  readonly urls: Readonly<Record<HttpInput['service'], string>>;
  readonly tokens: Readonly<Record<TokenName, string | undefined>>;
  readonly tally: Tally;
  readonly promises: Promises;
  readonly numbers: FreshNumbers;
  readonly hangMs: number;
}

/** Requests over reused connections. */
export function httpSubject(options: HttpSubjectOptions): Subject<HttpInput> {
  const { name, inputs, tally, promises, numbers } = options;
  const client = new HttpClient(options.hangMs);
  const memory = new Memory();
  return {
    name,
    inputs,
    close: () => client.close(),
    run: async (input) => {
      const request = requestOf(input, options, memory, numbers.take());
      const answer = await client.send(request);
      tally.add(input.group, typeof answer === 'string' ? answer : answerClass(answer));
      if (typeof answer !== 'string') {
        memory.keep(input.operation, answer);
        const own = tokenSubjects[input.token];
        if (name === 'telemetry' && request.body !== undefined && own !== undefined)
          for (const [deviceId, epoch, seq] of promisedBy(request.body, answer, own))
            promises.add(deviceId, epoch, seq);
      }
      return { sent: 1, finding: findingOf(input, request, answer) };
    },
  };
}

function findingOf(input: HttpInput, request: HttpRequest, answer: HttpAnswer | string): Finding | undefined {
  const result = typeof answer === 'string' ? answer : answerClass(answer);
  if (result !== '5xx' && typeof answer !== 'string') return undefined;
  const status = typeof answer === 'string' ? answer : String(answer.status);
  const detail = typeof answer === 'string' ? '' : `: ${answer.body.slice(0, 500)}`;
  const { method, path, headers, body } = request;
  const sentHeaders = Object.entries({ ...headers, authorization: `(${input.token})` }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return {
    signature: `${input.operation} ${status}`,
    what: `${input.operation} answered ${status}${detail}`,
    input: `${method} ${path}\n${sentHeaders.join('\n')}\n${body === undefined ? '(no body)' : shown(body)}`,
  };
}

function requestOf(
  { service, method, path, query, token, headers, body }: HttpInput,
  { urls, tokens }: HttpSubjectOptions,
  memory: Memory,
  firstFreeSeq: number,
): HttpRequest {
  const parameter = (text: string) => percentEncoded(memory.fill(text));
  const segment = (part: PathPart) => ('verbatim' in part ? part.verbatim : parameter(part.parameter));
  const search = query.map(([name, value]) => `${parameter(name)}=${parameter(value)}`).join('&');
  const content =
    body === undefined ? undefined : Buffer.from(memory.fill(body(firstFreeSeq).toString('latin1')), 'latin1');
  const bearer = tokens[token];
  return {
    base: urls[service],
    method,
    path: `${path.map(segment).join('')}${search === '' ? '' : `?${search}`}`,
    headers: {
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      ...headers,
      ...(content === undefined ? {} : { 'content-length': String(content.length) }),
    },
    body: content,
  };
}

/** Bytes of a lone surrogate as UTF-8 would have them, which `encodeURIComponent` refuses. */
function percentEncoded(text: string): string {
  return text
    .split(/([\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff])/)
    .map((part, index) => (index % 2 === 0 ? encodeURIComponent(part) : surrogateBytes(part.charCodeAt(0))))
    .join('');
}

function surrogateBytes(code: number): string {
  const bytes = [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)];
  return bytes.map((byte) => `%${byte.toString(16)}`).join('');
}

/** Which part of a body is one JSON value, by the media type; an export as JSON has a line for each reading. */
const wholeJson: ReadonlyMap<string, (body: string) => string> = new Map([
  ['application/json', (body) => body],
  ['application/x-ndjson', (body) => body.split('\n', 1)[0]!],
]);

/** What earlier answers held, for the {@link placeholders}. */
class Memory {
  readonly #values = new Map<string, string>();

  keep(operation: string, { status, headers, body }: HttpAnswer): void {
    const [type = ''] = String(headers['content-type']).split(';', 1);
    const text = wholeJson.get(type)?.(body);
    if (status >= 300 || text === undefined || !text.startsWith('{')) return;
    const answer = JSON.parse(text) as { id?: unknown; data?: readonly { id?: unknown }[]; page?: { next?: unknown } };
    const { next } = answer.page ?? {};
    if (typeof next === 'string') this.#values.set('@cursor', next);
    const id = answer.data?.[0]?.id;
    if (operation === 'GET /api/v1/dead-letters' && typeof id === 'string') this.#values.set('@dead-letter', id);
    if (operation === 'POST /api/v1/dead-letters/replays' && typeof answer.id === 'string')
      this.#values.set('@replay', answer.id);
  }

  fill(text: string): string {
    return placeholders.reduce((filled, name) => filled.replaceAll(name, this.#values.get(name) ?? name), text);
  }
}
