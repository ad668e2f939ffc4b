import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { AwsV4Signer } from 'aws4fetch';

export interface S3Options {
  /** Without the bucket. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** The bucket is in the path of a URL, not in its host name. */
  readonly pathStyle: boolean;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** For one request and its answer. */
  readonly requestMsMax: number;
  /** For how long a request is repeated while the storage is not available. */
  readonly retryMsMax: number;
}

interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Undefined: of the bucket itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly signal: AbortSignal;
  /** Instead of that of the client. */
  readonly retryMsMax?: number;
}

/** What the storage answered instead of doing it. */
export class S3Error extends Error {
  override readonly name = 'S3Error';
  readonly status: number;
  /** `AccessDenied`, `NoSuchBucket` and the like; empty where it gave none. */
  readonly code: string;

  constructor({ method }: S3Request, status: number, text: string) {
    const [code = '', message = ''] = [elementsIn(text, 'Code')[0], elementsIn(text, 'Message')[0]];
    super(
      `the storage answered ${[status, code].join(' ').trim()} to ${method}${message === '' ? '' : `: ${message}`}`,
    );
    this.status = status;
    this.code = code;
  }
}

/** The storage cannot be reached, or says that it cannot answer now. */
export class S3UnavailableError extends Error {
  override readonly name = 'S3UnavailableError';
}

const firstRetryMs = 200;
const longestRetryMs = 5_000;
/** Of an answer that is read as text; a page of a list has at most 1,000 entries of about 500 bytes. */
const emptyBodyHash = createHash('sha256').digest('hex');

/** Requests of the S3 API, signed with version 4. A request may be sent more than once. */
export class S3Client {
  readonly #options: S3Options;
  /** Keys derived from the secret, which hold for a day. */
  readonly #signingKeys = new Map<string, ArrayBuffer>();

  constructor(options: S3Options) {
    this.#options = options;
  }

  /** @returns headers, and the text of the answer. @throws {S3Error} {S3UnavailableError} */
  async send(request: S3Request): Promise<{ readonly headers: Headers; readonly text: string }> {
    return this.#retrying(request, async () => {
      const response = await this.#fetch(request, AbortSignal.timeout(this.#options.requestMsMax));
      const text = await response.text();
      // The end of a multipart upload may fail after its status has been sent.
      if (!response.ok || /<Error>/.test(text.slice(0, 1_000))) throw errorOf(request, response.status, text);
      return { headers: response.headers, text };
    });
  }

  /** The content of an object while it arrives. @throws {S3Error} {S3UnavailableError} before the first byte */
  async open(request: S3Request): Promise<ReadableStream<Uint8Array>> {
    return this.#retrying(request, async () => {
      const response = await this.#fetch(request);
      if (!response.ok) throw errorOf(request, response.status, await response.text());
      return response.body!;
    });
  }

  /** An address at which anyone may read an object, for some seconds. @param endpoint where others reach the storage */
  async presign(endpoint: string, key: string, seconds: number): Promise<string> {
    const url = this.#urlOf(endpoint, key, { 'X-Amz-Expires': String(seconds) });
    const { url: signed } = await this.#signer({ url, method: 'GET', signQuery: true }).sign();
    return signed.href;
  }

  async #fetch(request: S3Request, deadline?: AbortSignal): Promise<Response> {
    const { method, key, query, headers, body, signal } = request;
    const signed = await this.#signer({
      url: this.#urlOf(this.#options.endpoint, key, query),
      method,
      headers: {
        ...headers,
        // The storage refuses a body that is not the one that was signed.
        'x-amz-content-sha256': body === undefined ? emptyBodyHash : createHash('sha256').update(body).digest('hex'),
      },
    }).sign();
    return fetch(signed.url, {
      method,
      headers: signed.headers,
      ...(body !== undefined && { body }),
      // A signature holds for one address.
      redirect: 'manual',
      signal: deadline === undefined ? signal : AbortSignal.any([signal, deadline]),
    });
  }

  #signer(request: {
    url: string;
    method: string;
    headers?: Record<string, string>;
    signQuery?: boolean;
  }): AwsV4Signer {
    const { accessKeyId, secretAccessKey, region } = this.#options;
    return new AwsV4Signer({
      ...request,
      service: 's3',
      region,
      accessKeyId,
      secretAccessKey,
      cache: this.#signingKeys,
    });
  }

  #urlOf(endpoint: string, key = '', query: Readonly<Record<string, string>> = {}): string {
    const { bucket, pathStyle } = this.#options;
    const url = new URL(endpoint);
    if (!pathStyle) url.hostname = `${bucket}.${url.hostname}`;
    const path = key.split('/').map(encodeURIComponent).join('/');
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/${pathStyle ? `${bucket}/` : ''}${path}`;
    url.search = String(new URLSearchParams(query));
    return url.href;
  }

  async #retrying<T>({ signal, retryMsMax = this.#options.retryMsMax }: S3Request, send: () => Promise<T>): Promise<T> {
    for (let pauseMs = firstRetryMs, waitedMs = 0; ; pauseMs = Math.min(2 * pauseMs, longestRetryMs)) {
      const startedAt = performance.now();
      try {
        return await send();
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof S3Error) throw error;
        waitedMs += performance.now() - startedAt + pauseMs;
        if (waitedMs > retryMsMax) throw unavailable(error);
        await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, { signal });
      }
    }
  }
}

function errorOf(request: S3Request, status: number, text: string): Error {
  const error = new S3Error(request, status, text);
  const isPassing =
    status >= 500 ||
    status === 429 ||
    status === 408 ||
    ['InternalError', 'SlowDown', 'RequestTimeout'].includes(error.code);
  return isPassing ? new S3UnavailableError(error.message) : error;
}

/** `fetch` says in the cause why it failed. */
function unavailable(error: unknown): S3UnavailableError {
  if (error instanceof S3UnavailableError) return error;
  const { cause = error } = error as Error;
  return new S3UnavailableError(
    `the storage does not answer: ${(cause as Error).message || (cause as { code?: string }).code}`,
    {
      cause: error,
    },
  );
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

/** The texts of all elements of this name: what S3 answers has neither attributes nor comments where they are. */
export function elementsIn(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([^]*?)</${name}>`, 'g'))].map(([, text]) =>
    text!.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hexadecimal, entity) => {
      if (entity !== undefined) return entities[entity as string] ?? whole;
      return String.fromCodePoint(decimal === undefined ? Number.parseInt(hexadecimal as string, 16) : Number(decimal));
    }),
  );
}
