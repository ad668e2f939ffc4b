import { Agent, request } from 'node:http';

export interface HttpRequest {
  /** `http://127.0.0.1:8081` */
  readonly base: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** The longest that `Prefer: wait` is obeyed. */
const waitSecondsMax = 30;

/** Why there is no answer. */
export type NoAnswer = 'hang' | 'connection cut';

/** Reuses connections. */
export class HttpClient {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #hangMs: number;

  /** @param hangMs an answer that is later than this counts as none; the time that the request itself asked to wait comes on top */
  constructor(hangMs: number) {
    this.#hangMs = hangMs;
  }

  /** Sends it again where a connection that the server was closing has been reused (RFC 9112, 9.3.1). */
  async send(wanted: HttpRequest): Promise<HttpAnswer | NoAnswer> {
    const answer = await this.#once(wanted, this.#agent);
    return answer === 'connection cut' ? this.#once(wanted, new Agent({ keepAlive: false })) : answer;
  }

  close(): void {
    this.#agent.destroy();
  }

  #once({ base, method, path, headers, body }: HttpRequest, agent: Agent): Promise<HttpAnswer | NoAnswer> {
    const { hostname, port } = new URL(base);
    return new Promise((resolve) => {
      const outgoing = request({ hostname, port, method, path, headers, agent });
      const timer = setTimeout(() => finish('hang'), this.#hangMs + askedWaitMs(headers['prefer']));
      const finish = (answer: HttpAnswer | NoAnswer): void => {
        clearTimeout(timer);
        resolve(answer);
        if (typeof answer === 'string') outgoing.destroy();
      };
      outgoing.on('error', () => finish('connection cut'));
      outgoing.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', () => finish('connection cut'));
        response.on('end', () => {
          const { statusCode = 0, headers: answered } = response;
          finish({ status: statusCode, headers: answered, body: Buffer.concat(chunks).toString('utf8') });
        });
      });
      outgoing.end(body);
    });
  }
}

/** Of `Prefer: wait=5` (RFC 7240, 4.3), read more broadly than the server does. */
function askedWaitMs(prefer: string | undefined): number {
  return Math.min(Number(/wait\s*=\s*(\d+)/i.exec(prefer ?? '')?.[1] ?? 0), waitSecondsMax) * 1_000;
}
