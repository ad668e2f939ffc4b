import { setTimeout as sleep } from 'node:timers/promises';
import { type Authentication, type ReadSession, refusedSession } from '@fleetwire/auth/authenticate';
import { parserOf } from '@fleetwire/contracts/schema-issue';
import { SessionState } from '@fleetwire/contracts/session';
import { tooManyRequests, unavailable } from '@fleetwire/runtime/problem';
import { LRUCache } from 'lru-cache';
import type { IngestMetrics } from './metrics.ts';

/** A session that was ended is refused here within this time, that of query-api, and the second between two checks of a socket: 5 s together. */
const recheckMs = 2_000;
const answerTimeoutMs = 2_000;
/** Sessions remembered for the time that query-api does not answer. */
const knownMax = 10_000;
/** Sessions that are being read at the same time, of those that were seen here before: further ones wait, so that the end of each is noticed. */
const readingSeenMax = 64;
/** Of others, which anyone can make up: further ones are refused. */
const readingUnseenMax = 64;
const unseenPerAddressMax = 16;

interface KnownSession {
  readonly caller: Extract<Authentication, { readonly ok: true }>;
  readonly readAt: number;
}

const parseSession = parserOf(SessionState);

export interface SessionReader {
  readonly read: ReadSession;
  /**
   * For the time that a request of this address waits for its session: made-up ones of one address leave room for those of others.
   * @returns undefined where the session was seen here before
   * @throws {Problem} 429
   */
  admit(token: string, address: string): Disposable | undefined;
}

interface SessionReaderOptions {
  readonly queryApiUrl: string;
  readonly metrics: Pick<IngestMetrics, 'limitsReached'>;
  readonly now?: () => number;
}

/**
 * Reads sessions of browsers from `GET /api/v1/session` of query-api, as this service uses no database. While query-api is away, sessions that
 * were read before go on until they expire; others get 503. Devices send signed tokens and never depend on it.
 */
export function createSessionReader({ queryApiUrl, metrics, now = Date.now }: SessionReaderOptions): SessionReader {
  const known = new LRUCache<string, KnownSession>({ max: knownMax });
  const [seen, unseen] = [new Map<string, Promise<Authentication>>(), new Map<string, Promise<Authentication>>()];
  const byAddress = new Map<string, number>();
  /** The last read of each place; the next one there waits for it. */
  const places: Promise<unknown>[] = Array.from({ length: readingSeenMax }, async () => {});
  let reads = 0;

  const read = async (token: string): Promise<Authentication> => {
    const readAt = now();
    const response = await fetch(new URL('/api/v1/session', queryApiUrl), {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    const body: unknown = await response.json();
    if (response.status === 401) {
      known.delete(token);
      return refusedSession('it has ended; sign in again');
    }
    if (!response.ok) throw new Error(`query-api answered ${response.status}`);
    const session = parseSession(body);
    if (!session.ok) throw new Error(`the session ${session.issue.message}`);
    const { subject, role, expiresAt, key } = session.value;
    const caller = {
      ok: true,
      claims: { sub: subject, role, ...(expiresAt !== null && { exp: Date.parse(expiresAt) / 1_000 }) },
      ...(key !== null && { key }),
    } as const;
    known.set(token, { caller, readAt });
    return caller;
  };

  const readAgain = (token: string): Promise<Authentication> => {
    const place = (reads += 1) % readingSeenMax;
    const promise = places[place]!.then(() => read(token)).finally(() => seen.delete(token));
    places[place] = promise.catch(() => {});
    seen.set(token, promise);
    return promise;
  };
  const readFirst = (token: string): Promise<Authentication> => {
    if (unseen.size >= readingUnseenMax) throw new Error('too many sessions are being read');
    const promise = read(token).finally(() => unseen.delete(token));
    unseen.set(token, promise);
    return promise;
  };
  const readKnown: ReadSession = async (token) => {
    const one = known.get(token);
    if (one !== undefined && now() - one.readAt < recheckMs) return one.caller;
    try {
      return one === undefined
        ? await (unseen.get(token) ?? readFirst(token))
        : await inTime(seen.get(token) ?? readAgain(token));
    } catch {
      const { exp = Infinity } = one?.caller.claims ?? {};
      if (one !== undefined && now() < exp * 1_000) return one.caller;
      throw unavailable('The session cannot be read from query-api now; try again, or send a token', 1_000);
    }
  };

  const add = (address: string, change: 1 | -1): void => {
    const count = (byAddress.get(address) ?? 0) + change;
    if (count === 0) byAddress.delete(address);
    else byAddress.set(address, count);
  };
  const admit: SessionReader['admit'] = (token, address) => {
    if (known.has(token) || unseen.has(token)) return undefined;
    if ((byAddress.get(address) ?? 0) >= unseenPerAddressMax) {
      metrics.limitsReached.inc({ limit: 'unseenSessionsPerAddressMax' });
      const text = `${unseenPerAddressMax} sessions of your address are being read, the limit (unseenSessionsPerAddressMax); try again, or send a token`;
      throw tooManyRequests(text, 1_000);
    }
    add(address, 1);
    return { [Symbol.dispose]: () => add(address, -1) };
  };

  return { read: readKnown, admit };
}

async function inTime<T>(promise: Promise<T>): Promise<T> {
  const late = sleep(answerTimeoutMs, undefined, { ref: false }).then(() => {
    throw new Error('the session was not read in time');
  });
  return Promise.race([promise, late]);
}
