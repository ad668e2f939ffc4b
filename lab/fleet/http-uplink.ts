import { setTimeout as sleep } from 'node:timers/promises';
import type { ValidationIssue } from '@fleetwire/contracts/validation-issue';
import { backoffMs } from '@fleetwire/contracts/backoff';
import { frameOverheadBytesMax, telemetryBody } from './frame.ts';
import type { OutgoingRun } from './outbox.ts';
import { LinkRefusedError, type Uplink, type UplinkOptions, increment } from './uplink.ts';

const payloadBytesMax = 256 * 1024;
const finalStatuses: ReadonlySet<number> = new Set([401, 403, 404]);

/** The fallback for devices without WebSocket: `POST /api/v1/telemetry`, one request at a time. */
export class HttpUplink implements Uplink {
  readonly #options: UplinkOptions;
  readonly #stopping = new AbortController();
  #sending: Promise<void> | undefined;
  #failures = 0;
  /** Readings up to this number are sent one per request, because a request with several of them was refused as a whole. */
  #aloneUpTo = Number.NEGATIVE_INFINITY;
  #lastTaken = Number.NEGATIVE_INFINITY;

  constructor(options: UplinkOptions) {
    this.#options = options;
    options.statistics.connected += 1;
    options.statistics.connects += 1;
  }

  pump(): void {
    if (this.#stopping.signal.aborted) return;
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = undefined));
  }

  sendRaw(text: string | Buffer): boolean {
    void this.#post(text).then(
      (response) => response.ok || increment(this.#options.statistics.errors, String(response.status)),
      () => undefined,
    );
    return true;
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#sending;
    this.#options.statistics.connected -= 1;
  }

  async #sendAll(): Promise<void> {
    const { stream, readingsPerFrameMax } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const readingsMax = this.#lastTaken < this.#aloneUpTo ? 1 : readingsPerFrameMax;
      const run = stream.take(
        { readingsMax, bytesMax: payloadBytesMax - frameOverheadBytesMax, inFlightMax: readingsMax },
        performance.now(),
      );
      if (run === undefined) return;
      this.#lastTaken = run.seq + run.texts.length - 1;
      const waitMs = await this.#attempt(run);
      if (waitMs > 0) await sleep(waitMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  /** @returns how long to wait before the next request, in milliseconds */
  async #attempt(run: OutgoingRun): Promise<number> {
    const { stream, statistics } = this.#options;
    const last = run.seq + run.texts.length - 1;
    try {
      const response = await this.#post(telemetryBody(run, stream.journal));
      if (response.ok) {
        await response.arrayBuffer();
        stream.acknowledge(last, performance.now());
        this.#failures = 0;
        return 0;
      }
      return await this.#refused(run, response);
    } catch (error) {
      if (this.#stopping.signal.aborted) return 0;
      increment(statistics.disconnects, codeOf(error));
      return this.#again();
    }
  }

  async #refused(run: OutgoingRun, response: Response): Promise<number> {
    const { stream, statistics } = this.#options;
    const problem = (await response.json().catch(() => ({}))) as {
      detail?: string;
      accepted?: number;
      errors?: Partial<ValidationIssue>[];
    };
    if (finalStatuses.has(response.status)) {
      this.#stopping.abort();
      stream.fail(new LinkRefusedError(`HTTP ${response.status}`, problem.detail ?? ''));
      return 0;
    }
    if (response.status >= 500 || response.status === 429) {
      increment(statistics.disconnects, String(response.status));
      return Number(response.headers.get('retry-after') ?? 0) * 1_000 + this.#again();
    }
    const problems = problem.errors ?? [];
    const indices =
      run.texts.length === 1 ? [0] : problems.map(({ field = '' }) => Number(/^readings\[(\d+)\]/.exec(field)?.[1]));
    if (run.texts.length === 1 || indices.length + (problem.accepted ?? 0) === run.texts.length) {
      for (const [position, index] of indices.entries())
        stream.refuse(run.seq + index, 1, problems[position]?.code ?? 'malformed-json');
      stream.acknowledge(run.seq + run.texts.length - 1, performance.now());
      return 0;
    }
    // The response does not say which readings are bad: each is now sent in a request of its own.
    this.#aloneUpTo = run.seq + run.texts.length - 1;
    this.#lastTaken = run.seq - 1;
    stream.disconnect();
    return 0;
  }

  #again(): number {
    this.#options.stream.disconnect();
    this.#failures += 1;
    return backoffMs(this.#options.backoff, this.#failures, this.#options.random());
  }

  #post(body: string | Buffer): Promise<Response> {
    const { url, token, answerTimeoutMs } = this.#options;
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...authorization },
      // Where the types of browsers hold, a body is not of shared memory; no Buffer here is.
      body: body as string | Buffer<ArrayBuffer>,
      signal: AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(answerTimeoutMs)]),
    });
  }
}

function codeOf(error: unknown): string {
  const { cause, name } = error as { cause?: { code?: string }; name: string };
  return cause?.code ?? name;
}
