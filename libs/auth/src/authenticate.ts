import { type Claims, parseClaims } from '@fleetwire/contracts/access';
import { isSessionToken } from '@fleetwire/contracts/session';
import type { KeySource } from './key-set.ts';
import { createTokenVerifier, readBearer, TokenError } from './tokens.ts';

/** The only caller of `AUTH_MODE=open`, where no token is checked. */
const anonymous: Claims = Object.freeze({ sub: 'anonymous', role: 'admin' });

/**
 * Who calls; or why the answer must be 401, with the error code for its `WWW-Authenticate` header (RFC 6750, 3.1): none where
 * the request carries no credentials.
 */
export type Authentication =
  | {
      readonly ok: true;
      readonly claims: Claims;
      /** Thumbprint of the key that signed the token. */ readonly key?: string;
    }
  | { readonly ok: false; readonly detail: string; readonly error?: 'invalid_request' | 'invalid_token' };

/**
 * @param authorization the request's `Authorization` header
 * @param offered a token from another place of the request; used when the header holds none
 */
export type Authenticate = (authorization: string | undefined, offered?: string) => Promise<Authentication>;

/** Whose session this is, by its token. @throws where that cannot be found out now */
export type ReadSession = (token: string) => Promise<Authentication>;

export interface AuthenticationOptions {
  readonly authMode: 'jwt' | 'open';
  readonly authIssuer: string;
  readonly authAudience: string;
  readonly authClockToleranceSeconds: number;
}

/**
 * @param keys what tokens are verified with; needed unless `authMode` is `open`
 * @param readSession for tokens of sessions, which are accepted wherever a signed token is; without it they are refused
 */
export function createAuthenticate(
  options: AuthenticationOptions,
  keys: KeySource | undefined,
  readSession?: ReadSession,
): Authenticate {
  // The configuration allows open mode on a loopback address only.
  if (options.authMode === 'open') return async () => ({ ok: true, claims: anonymous });
  if (keys === undefined) throw new TypeError('AUTH_MODE=jwt needs keys to verify tokens with');
  const verifier = createTokenVerifier({
    jwks: keys,
    issuer: options.authIssuer,
    audience: options.authAudience,
    clockToleranceSeconds: options.authClockToleranceSeconds,
  });

  return async (authorization, offered) => {
    const token = readBearer(authorization) ?? offered;
    if (token === undefined)
      return authorization === undefined
        ? { ok: false, detail: 'Send a token: "Authorization: Bearer …"' }
        : { ok: false, detail: 'The Authorization header must be "Bearer" and a token', error: 'invalid_request' };
    if (isSessionToken(token))
      return readSession === undefined
        ? refusedSession('none is accepted here; send a signed token')
        : readSession(token);
    try {
      const { payload, key } = await verifier.verify(token);
      const claims = parseClaims(payload);
      if (claims.ok) return { ok: true, claims: claims.value, key };
      const { field, message } = claims.issue;
      return refused(field === '' ? `the payload ${message}` : message);
    } catch (error) {
      if (error instanceof TokenError) return refused(`${error.message} (${error.reason})`);
      throw error;
    }
  };
}

function refused(reason: string): Authentication {
  return { ok: false, detail: `The token is refused: ${reason}`, error: 'invalid_token' };
}

/**
 * Without an error code, so that it is not counted as a refused token: a browser goes on sending the cookie of a session that has ended, and one
 * service asks another about sessions of many addresses.
 */
export function refusedSession(reason: string): Authentication {
  return { ok: false, detail: `No session: ${reason}` };
}
