import { type Claims, parseClaims } from '@fleetwire/contracts/access';
import type { KeySource } from './key-set.ts';
import { createTokenVerifier, readBearer, TokenError } from './tokens.ts';

/** The only caller of `AUTH_MODE=open`, where no token is checked. */
const anonymous: Claims = Object.freeze({ sub: 'anonymous', role: 'admin' });

/**
 * Who calls; or why the answer must be 401, with the error code for its `WWW-Authenticate` header (RFC 6750, 3.1): none where
 * the request carries no credentials.
 */
type Authentication =
  | { readonly ok: true; readonly claims: Claims }
  | { readonly ok: false; readonly detail: string; readonly error?: 'invalid_request' | 'invalid_token' };

/**
 * @param authorization the request's `Authorization` header
 * @param offered a token from another place of the request; used when the header holds none
 */
export type Authenticate = (authorization: string | undefined, offered?: string) => Promise<Authentication>;

export interface AuthenticationOptions {
  readonly authMode: 'jwt' | 'open';
  readonly authIssuer: string;
  readonly authAudience: string;
  readonly authClockToleranceSeconds: number;
}

/** @param keys what tokens are verified with; needed unless `authMode` is `open` */
export function createAuthenticate(options: AuthenticationOptions, keys: KeySource | undefined): Authenticate {
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
    try {
      const claims = parseClaims(await verifier.verify(token));
      if (claims.ok) return { ok: true, claims: claims.value };
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
