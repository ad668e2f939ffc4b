import { mayRead, parseClaims, type Role } from '@fleetwire/contracts/access';
import { forbidden, unauthorized } from '@fleetwire/runtime/problem';
import { TokenError } from '@fleetwire/auth/token-error';
import { readBearer, type TokenVerifier } from '@fleetwire/auth/tokens';

export interface Caller {
  readonly sub: string;
  readonly role: Role;
}

/** @throws {Problem} 401 with the reason */
export type Authenticate = (authorization: string | undefined) => Promise<Caller>;

export function authenticateByToken(verifier: TokenVerifier): Authenticate {
  return async (authorization) => {
    if (authorization === undefined) throw unauthorized('Send a token: "Authorization: Bearer …"');
    const token = readBearer(authorization);
    if (token === undefined)
      throw unauthorized('The Authorization header is not "Bearer" and a token', 'invalid_request');
    try {
      const claims = parseClaims(await verifier.verify(token));
      if (claims.ok) return claims.value;
      throw unauthorized(`The token's claims do not fit: ${claims.issue.message}`, 'invalid_token');
    } catch (error) {
      if (error instanceof TokenError)
        throw unauthorized(`The token is refused (${error.reason}): ${error.message}`, 'invalid_token');
      throw error;
    }
  };
}

/** `AUTH_MODE=open`, on loopback: whoever reaches the port is an admin. */
export const everyoneIsAdmin: Authenticate = async () => ({ sub: 'anyone', role: 'admin' });

/** @throws {Problem} 403 */
export function authorize(caller: Caller, roles: readonly Role[], deviceId: string | undefined): void {
  if (!roles.includes(caller.role))
    throw forbidden(`The role ${caller.role} may not do this; it takes ${roles.join(' or ')}`);
  if (caller.role === 'device' && (deviceId === undefined || !mayRead(caller, deviceId))) {
    throw forbidden(`Device ${caller.sub} may read only itself`);
  }
}
