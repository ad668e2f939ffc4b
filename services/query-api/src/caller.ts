import type { IncomingMessage } from 'node:http';
import { type AuthenticationOptions, createAuthenticate } from '@fleetwire/auth/authenticate';
import type { KeySource } from '@fleetwire/auth/key-set';
import { mayRead, type Role } from '@fleetwire/contracts/access';
import { forbidden } from '@fleetwire/runtime/problem';
import type { RefusedTokens } from '@fleetwire/runtime/refused-tokens';

export interface Caller {
  readonly sub: string;
  readonly role: Role;
}

/** @throws {Problem} 401 with the reason, or 429 to an address with too many refused tokens */
export type Authenticate = (request: IncomingMessage) => Promise<Caller>;

export function createAuthentication(
  config: AuthenticationOptions,
  keys: KeySource | undefined,
  refusedTokens: RefusedTokens,
): Authenticate {
  const authenticate = createAuthenticate(config, keys);
  return async (request) => {
    const caller = await authenticate(request.headers.authorization);
    if (!caller.ok) throw refusedTokens.answer(request, caller.detail, caller.error);
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
