import type { IncomingMessage } from 'node:http';
import { createAuthenticate } from '@fleetwire/auth/authenticate';
import { openKeySource } from '@fleetwire/auth/key-set';
import { type Claims, mayPublish } from '@fleetwire/contracts/access';
import { subprotocol, tokenSubprotocolPrefix } from '@fleetwire/contracts/device-protocol';
import { forbidden } from '@fleetwire/runtime/problem';
import type { RefusedTokens } from '@fleetwire/runtime/refused-tokens';
import type { IngestConfiguration } from './configuration.ts';

/** @throws Problem 401 when the token is missing or refused, 429 to an address with too many refused tokens, 403 when its role may not publish */
export type Authenticate = (request: IncomingMessage) => Promise<Claims>;

export async function createAuthentication(
  config: IngestConfiguration,
  refusedTokens: RefusedTokens,
): Promise<Authenticate> {
  const authenticate = createAuthenticate(config, await openKeySource(config));
  return async (request) => {
    const { headers } = request;
    const caller = await authenticate(headers.authorization, readTokenSubprotocol(headers['sec-websocket-protocol']));
    if (!caller.ok) throw refusedTokens.answer(request, caller.detail, caller.error);
    if (!mayPublish(caller.claims)) throw forbidden(`The role "${caller.claims.role}" may not publish telemetry`);
    return caller.claims;
  };
}

/** Browsers cannot set headers on an upgrade: they offer the token as one more subprotocol. */
function readTokenSubprotocol(header: string | undefined): string | undefined {
  const offer = header
    ?.split(',')
    .map((name) => name.trim())
    .find((name) => name.startsWith(tokenSubprotocolPrefix));
  return offer?.slice(tokenSubprotocolPrefix.length);
}

/** The subprotocol to answer with; never the token. */
export function chooseSubprotocol(offered: ReadonlySet<string>): string | false {
  return offered.has(subprotocol) ? subprotocol : false;
}
