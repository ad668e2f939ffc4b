import { createWriteStream } from 'node:fs';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { finished } from 'node:stream/promises';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: number;
  readonly elapsedMs: number;
}

/** One client: its requests follow one another on one connection that stays open. */
export class QueryClient implements Disposable {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #origin: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(origin: string, headers: Readonly<Record<string, string>> = {}) {
    this.#origin = origin;
    this.#headers = headers;
  }

  /** Reads the whole answer. @throws when its status is not 200 */
  get(path: string): Promise<Answer> {
    return this.#read(path, () => {});
  }

  /** The same, into a file. */
  async save(path: string, file: string): Promise<Answer> {
    const out = createWriteStream(file);
    const answer = await this.#read(path, (chunk) => void out.write(chunk));
    out.end();
    await finished(out);
    return answer;
  }

  async #read(path: string, take: (chunk: Buffer) => void): Promise<Answer> {
    const startedAt = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const fail = (error: Error): void => reject(new Error(`${path}: ${error.message}`, { cause: error }));
    const sent = request(`${this.#origin}${path}`, { agent: this.#agent, headers: this.#headers }, (response) => {
      let bytes = 0;
      const refused: Buffer[] = [];
      const status = response.statusCode!;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (status === 200) take(chunk);
        else refused.push(chunk);
      });
      response.once('error', fail);
      response.once('end', () => {
        if (status !== 200) reject(new Error(`${status} of ${path}: ${Buffer.concat(refused).toString()}`));
        else resolve({ status, headers: response.headers, bytes, elapsedMs: performance.now() - startedAt });
      });
    });
    sent.once('error', fail);
    sent.end();
    return promise;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
