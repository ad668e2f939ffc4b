import { type AuthenticationOptions, createAuthenticate } from '@fleetwire/auth/authenticate';
import type { KeySource } from '@fleetwire/auth/key-set';
import { mayRead, type Role } from '@fleetwire/contracts/access';
import { forbidden, unauthorized } from '@fleetwire/runtime/problem';

export interface Caller {
  readonly sub: string;
  readonly role: Role;
}

/** @throws {Problem} 401 with the reason */
export type Authenticate = (authorization: string | undefined) => Promise<Caller>;

export function createAuthentication(config: AuthenticationOptions, keys: KeySource | undefined): Authenticate {
  const authenticate = createAuthenticate(config, keys);
  return async (authorization) => {
    const caller = await authenticate(authorization);
    if (!caller.ok) throw unauthorized(caller.detail, caller.error);
    return caller.claims;
  };
}

/** @throws {Problem} 403 */
export function authorize(caller: Caller, roles: readonly Role[], deviceId: string | undefined): void {
  if (!roles.includes(caller.role))
    throw forbidden(`The role "${caller.role}" may not call this route; it needs ${roles.join(' or ')}`);
  if (caller.role === 'device' && (deviceId === undefined || !mayRead(caller, deviceId))) {
    throw forbidden(`Device ${caller.sub} may read only its own data`);
  }
}
