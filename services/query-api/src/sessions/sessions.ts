import { type Authentication, type ReadSession, refusedSession } from '@fleetwire/auth/authenticate';
import { type KeySource, thumbprintsOf } from '@fleetwire/auth/key-set';
import type { Role } from '@fleetwire/contracts/access';
import { sessionTokenOf } from '@fleetwire/contracts/session';
import type { Logger } from '@fleetwire/runtime/logger';
import { Counter, fromZero, type Registry } from '@fleetwire/runtime/metrics';
import { unavailable } from '@fleetwire/runtime/problem';
import {
  deleteSession,
  findSession,
  insertSession,
  insertSignInCode,
  type SignedIn,
  takeSignInCode,
  touchSession,
} from '@fleetwire/store/sessions';
import { LRUCache } from 'lru-cache';
import type { Caller } from '../caller.ts';
import type { GuardedDatabase } from '../circuit.ts';
import { createSecrets } from './secrets.ts';

export interface SessionsOptions {
  readonly databaseUrl: string;
  readonly reading: GuardedDatabase;
  readonly writing: GuardedDatabase;
  /** Tokens may be signed with these now; undefined in open mode. */
  readonly keys: KeySource | undefined;
  readonly sessionSecondsMax: number;
  readonly sessionsPerSubjectMax: number;
  readonly sessionsMax: number;
  readonly registry: Registry;
  readonly logger: Logger;
}

interface KnownSession extends SignedIn {
  readonly expiresAt: number;
  readonly readAt: number;
}

export interface BegunSession extends SignedIn {
  readonly token: string;
  readonly expiresAt: number;
}

/** A session that another instance has ended is refused here within this time. */
const recheckMs = 2_000;
const touchMs = 60_000;
const codeMs = 10 * 60_000;
/** Sessions remembered for the time that the database does not answer. */
const knownMax = 10_000;

/**
 * Sessions of browsers, in the database. A session is its subject and role as long as the token that began it would be valid: until it expires, or
 * the key of the token is removed. While the database is away, sessions that this instance has seen go on.
 */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #tokens;
  readonly #codes;
  readonly #known = new LRUCache<string, KnownSession>({ max: knownMax });
  /** By this instance: a read that began before does not bring them back. */
  readonly #ended = new LRUCache<string, true>({ max: knownMax });
  readonly #reading = new Map<string, Promise<KnownSession | undefined>>();
  readonly #changes: Counter<'change'>;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#tokens = createSecrets(options.databaseUrl, 'sessions');
    this.#codes = createSecrets(options.databaseUrl, 'sign-in codes');
    this.#changes = fromZero(
      new Counter({
        name: 'fleetwire_query_sessions_total',
        help: 'Sessions of browsers that began, by what they began with, and that their browser ended',
        labelNames: ['change'] as const,
        registers: [options.registry],
      }),
      'change',
      ['begun-by-token', 'begun-by-code', 'ended'],
    );
  }

  /** For {@link createAuthenticate}. @throws {Problem} 503 where the database is away and the session is not remembered */
  readonly read: ReadSession = async (token) => {
    const digest = this.#digestOf(token);
    const session = digest && (await this.#find(digest));
    if (session === undefined) return refusedSession('it has ended; sign in again');
    return this.#authenticationOf(session);
  };

  /** @throws {Problem} 503 with too many sessions, or while the database is away */
  async begin(signedIn: SignedIn, tokenExpiresAt: number, how: 'token' | 'code'): Promise<BegunSession> {
    const { sessionSecondsMax, sessionsPerSubjectMax, sessionsMax, writing, logger } = this.#options;
    const secret = this.#tokens.create();
    const digest = this.#tokens.digestOf(secret)!;
    const expiresAt = Math.min(tokenExpiresAt, Date.now() + sessionSecondsMax * 1_000);
    const stored = await writing.run(insertSession, {
      ...signedIn,
      digest,
      expiresAt,
      bounds: { perSubjectMax: sessionsPerSubjectMax, sessionsMax },
    });
    if (stored === undefined)
      throw unavailable(`${sessionsMax} sessions are open (SESSIONS_MAX); sign in when some have ended`, 60_000);
    this.#known.set(nameOf(digest), { ...signedIn, expiresAt, readAt: Date.now() });
    this.#changes.inc({ change: `begun-by-${how}` });
    logger.info({ subject: signedIn.subject, role: signedIn.role, how, expiresAt: new Date(expiresAt) }, 'signed in');
    return { ...signedIn, token: sessionTokenOf(secret), expiresAt };
  }

  /** A code that begins one session as this caller, for as long as the caller's own token. */
  async createCode({ sub, role, key, expiresAt }: Caller): Promise<{ code: string; expiresAt: number }> {
    const code = this.#codes.create();
    const tokenExpiresAt = expiresAt ?? Date.now() + this.#options.sessionSecondsMax * 1_000;
    const codeExpiresAt = Math.min(tokenExpiresAt, Date.now() + codeMs);
    await this.#options.writing.run(insertSignInCode, {
      digest: this.#codes.digestOf(code)!,
      subject: sub,
      role,
      key: key ?? null,
      tokenExpiresAt,
      expiresAt: codeExpiresAt,
      perSubjectMax: this.#options.sessionsPerSubjectMax,
    });
    return { code, expiresAt: codeExpiresAt };
  }

  /** @returns undefined where the code is not valid (any more) */
  async exchange(code: string): Promise<BegunSession | undefined> {
    const digest = this.#codes.digestOf(code);
    const taken = digest && (await this.#options.writing.run(takeSignInCode, { digest }));
    if (taken === undefined || !(await this.#isKeyKnown(taken.key))) return undefined;
    const { tokenExpiresAt, ...signedIn } = taken;
    return this.begin(signedIn, tokenExpiresAt, 'code');
  }

  async end(token: string): Promise<void> {
    const digest = this.#digestOf(token);
    if (digest === undefined) return;
    await this.#options.writing.run(deleteSession, { digest });
    const name = nameOf(digest);
    this.#ended.set(name, true);
    this.#known.delete(name);
    this.#changes.inc({ change: 'ended' });
  }

  #digestOf(token: string): Buffer | undefined {
    return this.#tokens.digestOf(token.slice(sessionTokenOf('').length));
  }

  async #authenticationOf({ subject, role, key, expiresAt }: KnownSession): Promise<Authentication> {
    if (Date.now() >= expiresAt) return refusedSession('it has expired; sign in again');
    if (!(await this.#isKeyKnown(key))) return refusedSession('the key of the token that began it was removed');
    const claims = { sub: subject, role: role as Role, exp: expiresAt / 1_000 };
    return { ok: true, claims, ...(key !== null && { key }) };
  }

  async #isKeyKnown(key: string | null): Promise<boolean> {
    const { keys } = this.#options;
    return keys === undefined || (key !== null && (await thumbprintsOf(await keys.current())).has(key));
  }

  async #find(digest: Buffer): Promise<KnownSession | undefined> {
    const name = nameOf(digest);
    const known = this.#known.get(name);
    if (known !== undefined && Date.now() - known.readAt < recheckMs) return known;
    const reading = this.#reading.get(name) ?? this.#readAgain(name, digest);
    try {
      const found = await reading;
      return this.#ended.has(name) ? undefined : found;
    } catch (error) {
      if (known !== undefined && !this.#ended.has(name)) return known;
      throw error;
    }
  }

  #readAgain(name: string, digest: Buffer): Promise<KnownSession | undefined> {
    const { reading, writing } = this.#options;
    const read = async (): Promise<KnownSession | undefined> => {
      const readAt = Date.now();
      const stored = await reading.run(findSession, { digest });
      if (stored === undefined) {
        this.#known.delete(name);
        return undefined;
      }
      const { lastSeenAt, ...session } = stored;
      // Not awaited: whether it is written changes nothing for the caller.
      if (readAt - lastSeenAt > touchMs) writing.run(touchSession, { digest }).catch(() => {});
      const known = { ...session, readAt };
      if (!this.#ended.has(name)) this.#known.set(name, known);
      return known;
    };
    const promise = read().finally(() => this.#reading.delete(name));
    this.#reading.set(name, promise);
    return promise;
  }
}

function nameOf(digest: Buffer): string {
  return digest.toString('base64');
}
