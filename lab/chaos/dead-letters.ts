import { eventually } from '@fleetwire/platform/testing/eventually';
import type { ChaosPlatform } from './platform.ts';
import { refusalStates } from './refusals.ts';

/** A dead letter, as docs/openapi.json describes it. */
export interface DeadLetter {
  readonly id: string;
  readonly status: 'open' | 'replaying' | 'stored' | 'discarded';
  readonly error: { readonly code: string };
  readonly replays: number;
  readonly automaticReplays: number;
  readonly repeated: number;
}

export interface Replay {
  readonly id: string;
  readonly state: string;
  readonly source: string;
  readonly counts: Readonly<
    Record<'matched' | 'queued' | 'published' | 'stored' | 'failedAgain' | 'unknown' | 'pending', number>
  >;
}

interface Group {
  readonly fingerprint: string;
  readonly errorCode: string;
  readonly byStatus: { readonly open: number; readonly replaying: number };
}

interface Page<Item> {
  readonly data: readonly Item[];
  readonly page: { readonly next: string | null };
}

const requestTimeoutMs = 2_000;
const pageMax = 1_000;
const finalIntervalMs = 500;
/** Dead-lettered by the broker after the deliveries that its limit allows: each worker was killed; the platform replays it once by itself. */
const byBroker = 'dead-lettered-by-broker';

/** An operator who replays, over the public API, the dead letters of readings that were refused for a time. */
export class DeadLetterOperator {
  readonly #baseUrl: string;
  readonly #token: string;

  private constructor(baseUrl: string, token: string) {
    this.#baseUrl = baseUrl;
    this.#token = token;
  }

  static async of({ services, platform }: ChaosPlatform): Promise<DeadLetterOperator> {
    const token = await platform.keys.token('chaos', 'operator');
    return new DeadLetterOperator(`${services['query-api'][0]!.url}/api/v1/dead-letters`, token);
  }

  /** Kinds of failure with dead letters that were refused for a time, and that need a replay or are being replayed. */
  async unsettled(): Promise<readonly Group[]> {
    const { data } = await this.#call<Page<Group>>('GET', `/groups?limit=${pageMax}`);
    return data.filter(
      ({ errorCode, byStatus }) =>
        (isForATime(errorCode) || errorCode === byBroker) && byStatus.open + byStatus.replaying > 0,
    );
  }

  /** Starts a replay of the open dead letters of each kind. @returns the replays */
  async replayOpen(ratePerSecond: number): Promise<readonly Replay[]> {
    const open = (await this.unsettled()).filter(({ byStatus }) => byStatus.open > 0);
    return Promise.all(
      open.map(({ fingerprint }) => this.#call<Replay>('POST', '/replays', { filter: { fingerprint }, ratePerSecond })),
    );
  }

  replay(id: string): Promise<Replay> {
    return this.#call('GET', `/replays/${id}`);
  }

  replays(): Promise<readonly Replay[]> {
    return this.#pages('/replays');
  }

  deadLetters(): Promise<readonly DeadLetter[]> {
    return this.#pages('');
  }

  async #pages<Item>(path: string): Promise<Item[]> {
    const items: Item[] = [];
    for (let next: string | null | undefined; next !== null;) {
      const cursor = next === undefined ? '' : `&cursor=${encodeURIComponent(next)}`;
      const answer: Page<Item> = await this.#call('GET', `${path}?limit=${pageMax}${cursor}`);
      items.push(...answer.data);
      next = answer.page.next;
    }
    return items;
  }

  async #call<Answer>(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> {
    const response = await fetch(`${this.#baseUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(requestTimeoutMs),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} /dead-letters${path} was answered with ${response.status}: ${text}`);
    return JSON.parse(text) as Answer;
  }
}

/** Replays the dead letters that faults have left, until each is stored. @returns sentences about wrong counters; none where all are true */
export async function replayTheRest(
  platform: ChaosPlatform,
  timeoutMs: number,
): Promise<{ replays: number; problems: readonly string[] }> {
  const operator = await DeadLetterOperator.of(platform);
  return await eventually(
    async () => {
      await operator.replayOpen(pageMax);
      const unsettled = await operator.unsettled();
      if (unsettled.length > 0)
        throw new Error(`dead letters are not stored after a replay: ${JSON.stringify(unsettled)}`);
      const replays = await operator.replays();
      const unfinished = replays.filter(({ state }) => state !== 'done');
      if (unfinished.length > 0) throw new Error(`replays are not done: ${JSON.stringify(unfinished)}`);
      return { replays: replays.length, problems: counterProblems(await operator.deadLetters(), replays) };
    },
    { timeoutMs, intervalMs: finalIntervalMs },
  );
}

/** Compares the counters of dead letters and replays with each other, after all replays are done. Pure. */
export function counterProblems(letters: readonly DeadLetter[], replays: readonly Replay[]): string[] {
  const problems: string[] = [];
  const total = (counter: keyof Replay['counts']) => replays.reduce((sum, { counts }) => sum + counts[counter], 0);
  const totalOf = (counter: 'replays' | 'repeated') => letters.reduce((sum, letter) => sum + letter[counter], 0);
  for (const { id, counts } of replays) {
    const { published, stored, failedAgain, unknown, pending } = counts;
    if (published !== stored + failedAgain || unknown > 0 || pending > 0)
      problems.push(`replay ${id} is done, and its counters are ${JSON.stringify(counts)}`);
  }
  if (total('published') !== totalOf('replays'))
    problems.push(`replays published ${total('published')} dead letters; these count ${totalOf('replays')} replays`);
  if (total('failedAgain') !== totalOf('repeated'))
    problems.push(`${total('failedAgain')} replays failed again; the dead letters count ${totalOf('repeated')}`);
  for (const { id, status, error, replays: count } of letters) {
    // What the broker dead-lettered can also be stored by a resend of the device.
    const isRight =
      error.code === byBroker
        ? status === 'stored'
        : isForATime(error.code)
          ? status === 'stored' && count > 0
          : count === 0;
    if (!isRight) problems.push(`dead letter ${id} (${error.code}) is ${status} after ${count} replays`);
  }
  return problems;
}

function isForATime(code: string): boolean {
  return code === refusalStates.unknown || code === refusalStates.badData;
}
