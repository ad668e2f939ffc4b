import type { PlainState } from '@fleetwire/contracts/plain-dialect';
import type { IngestMetrics } from './metrics.ts';

/** The last known state of the devices that a caller may read, the newest first. */
export interface PlainSnapshot {
  readonly data: PlainState;
  /** More devices are known. */
  readonly isTruncated: boolean;
}

export interface PlainSnapshotsOptions {
  /** Without it no snapshot can be read. */
  readonly queryApiUrl: string | undefined;
  /** Of one snapshot. */
  readonly bytesMax: number;
  readonly metrics: IngestMetrics;
}

const answerTimeoutMs = 10_000;
/** Many sockets may connect in the same moment; those of one token share a question. */
const plainSnapshotsInFlightMax = 8;

/** Reads `GET /api/data` of query-api with the callers' own tokens: it decides what they may read. */
export class PlainSnapshots {
  readonly #options: PlainSnapshotsOptions;
  readonly #reading = new Map<string, Promise<PlainSnapshot | undefined>>();
  /** Begun when the reading under the same key ends. */
  readonly #following = new Map<string, Promise<PlainSnapshot | undefined>>();

  constructor(options: PlainSnapshotsOptions) {
    this.#options = options;
  }

  get isConfigured(): boolean {
    return this.#options.queryApiUrl !== undefined;
  }

  /** @returns undefined where it cannot be read now */
  read(token: string | undefined): Promise<PlainSnapshot | undefined> {
    const { queryApiUrl, metrics } = this.#options;
    const key = token ?? '';
    if (queryApiUrl === undefined) return Promise.resolve(undefined);
    const current = this.#reading.get(key);
    if (current !== undefined) return this.#follow(key, current, token);
    if (this.#reading.size >= plainSnapshotsInFlightMax) {
      metrics.limitsReached.inc({ limit: 'plainSnapshotsInFlightMax' });
      return Promise.resolve(undefined);
    }
    const reading = this.#fetch(queryApiUrl, token)
      .catch(() => undefined)
      .finally(() => this.#reading.delete(key));
    this.#reading.set(key, reading);
    return reading;
  }

  /** A reading that has begun may be older than what its caller has heard; all that come while it lasts share the next one. */
  #follow(
    key: string,
    current: Promise<PlainSnapshot | undefined>,
    token: string | undefined,
  ): Promise<PlainSnapshot | undefined> {
    let following = this.#following.get(key);
    if (following === undefined) {
      following = current.then(() => {
        this.#following.delete(key);
        return this.read(token);
      });
      this.#following.set(key, following);
    }
    return following;
  }

  async #fetch(queryApiUrl: string, token: string | undefined): Promise<PlainSnapshot | undefined> {
    const response = await fetch(new URL('/api/data', queryApiUrl), {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    const answer = (await response.json()) as { data?: PlainState; truncated?: boolean };
    return response.ok && answer.data !== undefined ? this.#bounded(answer.data, answer.truncated === true) : undefined;
  }

  #bounded(data: PlainState, isTruncated: boolean): PlainSnapshot {
    let bytes = 0;
    const entries = Object.entries(data);
    const end = entries.findIndex(([deviceId, state]) => {
      bytes += deviceId.length + JSON.stringify(state).length;
      return bytes > this.#options.bytesMax;
    });
    return end === -1 ? { data, isTruncated } : { data: Object.fromEntries(entries.slice(0, end)), isTruncated: true };
  }
}
