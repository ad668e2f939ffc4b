import { Agent, request } from 'node:http';
import { hangMs } from './subject.ts';

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

/** Why there is no answer. */
export type NoAnswer = 'hang' | 'connection cut';

/** Reuses connections. */
export class HttpClient {
  readonly #agent = new Agent({ keepAlive: true });

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
      const timer = setTimeout(() => finish('hang'), hangMs);
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
