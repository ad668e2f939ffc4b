import type { IncomingMessage } from 'node:http';
import { type AuthenticationOptions, createAuthenticate, type ReadSession } from '@fleetwire/auth/authenticate';
import type { KeySource } from '@fleetwire/auth/key-set';
import { readSessionCookie } from '@fleetwire/auth/session-cookie';
import { readBearer } from '@fleetwire/auth/tokens';
import { mayRead, type Role } from '@fleetwire/contracts/access';
import { isSessionToken } from '@fleetwire/contracts/session';
import { requireOwnPage } from '@fleetwire/runtime/origins';
import { forbidden } from '@fleetwire/runtime/problem';
import type { RefusedTokens } from '@fleetwire/runtime/refused-tokens';

export interface Caller {
  readonly sub: string;
  readonly role: Role;
  /** As it was sent, or the token of its cookie, for services that are called in the caller's name. */
  readonly authorization: string | undefined;
  /** Thumbprint of the key that signed its token; undefined in open mode. */
  readonly key: string | undefined;
  /** When its token expires, in epoch milliseconds. */
  readonly expiresAt: number | undefined;
  /** The token of the session that it calls with. */
  readonly session: string | undefined;
}

/** @throws {Problem} 401 with the reason, or 429 to an address with too many refused tokens */
export type Authenticate = (request: IncomingMessage) => Promise<Caller>;

export function createAuthentication(
  config: AuthenticationOptions,
  keys: KeySource | undefined,
  refusedTokens: RefusedTokens,
  readSession: ReadSession,
): Authenticate {
  const authenticate = createAuthenticate(config, keys, readSession);
  return async (request) => {
    const { headers } = request;
    const cookie = headers.authorization === undefined ? readSessionCookie(headers) : undefined;
    if (cookie !== undefined && config.authMode !== 'open') requireOwnPage(request);
    const authorization = cookie === undefined ? headers.authorization : `Bearer ${cookie}`;
    const caller = await authenticate(authorization);
    if (!caller.ok) throw refusedTokens.answer(request, caller.detail, caller.error);
    const { sub, role, exp } = caller.claims;
    const expiresAt = exp === undefined ? undefined : exp * 1_000;
    const token = config.authMode === 'open' ? undefined : readBearer(authorization);
    const session = token !== undefined && isSessionToken(token) ? token : undefined;
    return { sub, role, authorization, key: caller.key, expiresAt, session };
  };
}

/** @throws {Problem} 403 */
export function authorize(caller: Caller, roles: readonly Role[], deviceId: string | undefined): void {
  if (!roles.includes(caller.role))
    throw forbidden(`The role "${caller.role}" may not call this route; it needs ${roles.join(' or ')}`);
  if (caller.role === 'device' && (deviceId === undefined || !mayRead(caller, deviceId))) {
    throw forbidden(`Device ${caller.sub} may use only its own routes`);
  }
}
