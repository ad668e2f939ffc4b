import type { IncomingMessage } from 'node:http';
import { type Claims, mayPublish, parseClaims } from '@fleetwire/contracts/access';
import { subprotocol, tokenSubprotocolPrefix } from '@fleetwire/contracts/device-protocol';
import { openKeySource } from '@fleetwire/auth/key-set';
import { forbidden, unauthorized } from '@fleetwire/runtime/problem';
import { TokenError } from '@fleetwire/auth/token-error';
import { createTokenVerifier, readBearer } from '@fleetwire/auth/tokens';
import type { IngestConfiguration } from './configuration.ts';

/** @throws Problem 401 where the token is missing or refused, 403 where its role does not publish */
export type Authenticate = (request: IncomingMessage) => Promise<Claims>;

export async function createAuthentication(config: IngestConfiguration): Promise<Authenticate> {
  const jwks = await openKeySource(config);
  // Only a loopback address is allowed without keys: configuration checks it.
  if (jwks === undefined) return async () => ({ sub: 'anonymous', role: 'admin' });
  const verifier = createTokenVerifier({
    jwks,
    issuer: config.authIssuer,
    audience: config.authAudience,
    clockToleranceSeconds: config.authClockToleranceSeconds,
  });

  return async (request) => {
    const token =
      readBearer(request.headers.authorization) ?? readTokenSubprotocol(request.headers['sec-websocket-protocol']);
    if (token === undefined) throw unauthorized('Send a token: "Authorization: Bearer …"');
    const payload = await verifier.verify(token).catch((error: unknown) => {
      throw error instanceof TokenError
        ? unauthorized(`The token is refused: ${error.message}`, 'invalid_token')
        : error;
    });
    const claims = parseClaims(payload);
    if (!claims.ok) throw unauthorized(`The token is refused: ${claims.issue.message}`, 'invalid_token');
    if (!mayPublish(claims.value)) throw forbidden(`The role "${claims.value.role}" does not publish telemetry`);
    return claims.value;
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
