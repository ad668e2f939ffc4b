import type { IncomingMessage } from 'node:http';
import { createAuthenticate } from '@fleetwire/auth/authenticate';
import type { KeySource } from '@fleetwire/auth/key-set';
import { readSessionCookie } from '@fleetwire/auth/session-cookie';
import { readBearer } from '@fleetwire/auth/tokens';
import { type Claims, mayPublish } from '@fleetwire/contracts/access';
import { subprotocol, tokenSubprotocolPrefix } from '@fleetwire/contracts/device-protocol';
import { isSessionToken } from '@fleetwire/contracts/session';
import { clientAddress } from '@fleetwire/runtime/client-address';
import { requireOwnPage } from '@fleetwire/runtime/origins';
import { forbidden } from '@fleetwire/runtime/problem';
import type { RefusedTokens } from '@fleetwire/runtime/refused-tokens';
import type { IngestConfiguration } from './configuration.ts';
import type { SessionReader } from './session-reader.ts';

/** Who calls, with which token and key; open mode has neither. */
export interface Caller {
  readonly claims: Claims;
  /** Thumbprint of the key that signed the token. */
  readonly key: string | undefined;
  /** Signed, or of a session. */
  readonly token: string | undefined;
}

/** @throws Problem 401 when the token is missing or refused, 429 to an address with too many refused tokens */
export type Authenticate = (request: IncomingMessage) => Promise<Caller>;

/** Checks a token that a client sends on its socket; the answer is a caller, or why it is refused. */
export type CheckToken = (token: string) => Promise<Caller | string>;

export function createAuthentication(
  config: IngestConfiguration,
  keys: KeySource | undefined,
  refusedTokens: RefusedTokens,
  sessions: SessionReader | undefined,
): Authenticate {
  const authenticate = createAuthenticate(config, keys, sessions?.read);
  return async (request) => {
    const { headers } = request;
    const token = readTokenSubprotocol(headers['sec-websocket-protocol']);
    const cookie = headers.authorization === undefined && token === undefined ? readSessionCookie(headers) : undefined;
    if (cookie !== undefined && config.authMode !== 'open') requireOwnPage(request);
    const offered = token ?? cookie;
    const used = config.authMode === 'open' ? undefined : (readBearer(headers.authorization) ?? offered);
    using _ =
      used !== undefined && isSessionToken(used)
        ? sessions?.admit(used, clientAddress(request, config.trustProxyHops))
        : undefined;
    const caller = await authenticate(headers.authorization, offered);
    if (!caller.ok) throw refusedTokens.answer(request, caller.detail, caller.error);
    return { claims: caller.claims, key: caller.key, token: used };
  };
}

/** @throws Problem 403 when the role may not publish */
export function authorizePublisher({ claims }: Caller): void {
  if (!mayPublish(claims)) throw forbidden(`The role "${claims.role}" may not publish telemetry`);
}

export function createTokenCheck(config: IngestConfiguration, keys: KeySource | undefined): CheckToken {
  const authenticate = createAuthenticate(config, keys);
  return async (token) => {
    const caller = await authenticate(`Bearer ${token}`);
    return caller.ok ? { claims: caller.claims, key: caller.key, token } : caller.detail;
  };
}

/** Browsers cannot set headers on an upgrade: they offer the token as one more subprotocol. */
function readTokenSubprotocol(header: string | undefined): string | undefined {
  const offer = namesIn(header).find((name) => name.startsWith(tokenSubprotocolPrefix));
  return offer?.slice(tokenSubprotocolPrefix.length);
}

/** A client that does not offer the subprotocol of the full dialect speaks the plain one. */
export function offersFullDialect(header: string | undefined): boolean {
  return namesIn(header).includes(subprotocol);
}

/**
 * The subprotocol to answer with. The token alone is repeated to the one that sent it: a browser that offers subprotocols, of which none is
 * chosen, closes the socket.
 */
export function chooseSubprotocol(offered: ReadonlySet<string>): string | false {
  if (offered.has(subprotocol)) return subprotocol;
  return [...offered].find((name) => name.startsWith(tokenSubprotocolPrefix)) ?? false;
}

function namesIn(header: string | undefined): string[] {
  return header === undefined ? [] : header.split(',').map((name) => name.trim());
}
