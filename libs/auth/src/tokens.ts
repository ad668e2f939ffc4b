import { createLocalJWKSet, errors, importJWK, type JWK, jwtVerify, SignJWT, type JWTPayload } from 'jose';
import { LRUCache } from 'lru-cache';
import { algorithmOf, publicKeys, signingKeys, thumbprintOf, type JSONWebKeySet, type KeySource } from './key-set.ts';

interface TokenPayload extends JWTPayload {
  readonly sub: string;
  readonly exp: number;
  readonly role?: unknown;
}

interface VerifiedToken {
  readonly payload: TokenPayload;
  /** Thumbprint of the key that signed it. */
  readonly key: string;
}

export interface TokenVerifier {
  /** @throws {TokenError} whose `reason` says why the token is refused */
  verify(token: string): Promise<VerifiedToken>;
}

export interface VerifierOptions {
  /** Private members are ignored. With several keys, the token's `kid` picks. */
  readonly jwks: JSONWebKeySet | KeySource;
  readonly issuer: string;
  readonly audience: string;
  readonly clockToleranceSeconds?: number;
  /** Tests pass it to expire tokens. */
  readonly now?: () => number;
}

/** Verified tokens are remembered until they expire or the keys change, because checking a signature is expensive. */
const verifiedTokensMax = 10_000;

/** Without symmetric ones, a public key cannot be used as an HMAC secret (RFC 8725, 2.1). */
const algorithms = ['EdDSA', 'ES256', 'RS256'];

/** Verifies JWTs (RFC 7519) signed with EdDSA, ES256 or RS256. */
export function createTokenVerifier(options: VerifierOptions): TokenVerifier {
  const { issuer, audience, clockToleranceSeconds = 30, now = Date.now } = options;
  const source = toSource(options.jwks);
  const verified = new LRUCache<string, VerifiedToken>({ max: verifiedTokensMax });
  let jwks: JSONWebKeySet | undefined;
  let pickKey = createLocalJWKSet({ keys: [] });

  const refresh = async (): Promise<void> => {
    const current = await source.current();
    if (current === jwks) return;
    pickKey = createLocalJWKSet(publicKeys(current));
    jwks = current;
    verified.clear();
  };

  return {
    verify: async (token) => {
      await refresh();
      const known = verified.get(token);
      if (known && now() < (known.payload.exp + clockToleranceSeconds) * 1000) return known;
      verified.delete(token);
      const pickedFrom = jwks ?? { keys: [] };
      try {
        const { payload, protectedHeader } = await jwtVerify<TokenPayload>(token, pickKey, {
          issuer,
          audience,
          algorithms,
          clockTolerance: clockToleranceSeconds,
          currentDate: new Date(now()),
          requiredClaims: ['sub', 'exp'],
        });
        const key = await thumbprintOf(signerOf(pickedFrom, protectedHeader));
        const result = { payload, key };
        if (pickedFrom === jwks) verified.set(token, result);
        return result;
      } catch (error) {
        throw toTokenError(error);
      }
    },
  };
}

/** The key that `createLocalJWKSet` picked: the one with the token's `kid`; without one the only key of the algorithm. */
function signerOf(jwks: JSONWebKeySet, { kid, alg }: { kid?: string; alg: string }): JWK {
  const signer = jwks.keys.find((key) => (kid === undefined || key.kid === kid) && algorithmOf(key) === alg);
  if (signer === undefined) throw new errors.JWKSNoMatchingKey();
  return signer;
}

interface MintRequest {
  readonly subject: string;
  readonly role: string;
  readonly expiresInSeconds: number;
}

export interface TokenMinter {
  mint(request: MintRequest): Promise<{ token: string; expiresAt: Date; kid: string }>;
}

export interface MinterOptions {
  readonly privateJwks: JSONWebKeySet | KeySource;
  readonly issuer: string;
  readonly audience: string;
  /** The key to sign with; by default the last private key of the set. */
  readonly kid?: string;
}

export function createTokenMinter({ privateJwks, issuer, audience, kid }: MinterOptions): TokenMinter {
  const source = toSource(privateJwks);
  return {
    mint: async ({ subject, role, expiresInSeconds }) => {
      const jwk = signingKeys(await source.current()).findLast((key) => kid === undefined || key.kid === kid);
      const algorithm = jwk && algorithmOf(jwk);
      if (jwk?.kid === undefined || algorithm === undefined)
        throw new TypeError(`no private key${kid === undefined ? '' : ` "${kid}"`} to sign with`);
      const issuedAt = Math.floor(Date.now() / 1000);
      const token = await new SignJWT({ role })
        .setProtectedHeader({ alg: algorithm, kid: jwk.kid, typ: 'JWT' })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(subject)
        .setIssuedAt(issuedAt)
        .setExpirationTime(issuedAt + expiresInSeconds)
        .sign(await importJWK(jwk, algorithm));
      return { token, expiresAt: new Date((issuedAt + expiresInSeconds) * 1000), kid: jwk.kid };
    },
  };
}

/** The credentials of `Authorization: Bearer …` (RFC 6750), or undefined. */
export function readBearer(authorization: string | undefined): string | undefined {
  return /^Bearer +([\w.~+/=-]+) *$/i.exec(authorization ?? '')?.[1];
}

type TokenRefusal =
  | 'expired'
  | 'not-yet-valid'
  | 'bad-signature'
  | 'bad-algorithm'
  | 'unknown-key'
  | 'wrong-audience'
  | 'wrong-issuer'
  | 'malformed';

/** Why a token is refused. The message never holds the token. */
export class TokenError extends Error {
  readonly reason: TokenRefusal;

  constructor(reason: TokenRefusal, message: string) {
    super(message);
    this.name = 'TokenError';
    this.reason = reason;
  }
}

/** The reason in an error of jose; errors that do not come from the token are returned unchanged. */
function toTokenError(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) return new TokenError('expired', 'it has expired');
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return new TokenError('bad-signature', 'its signature does not match');
  if (error instanceof errors.JOSEAlgNotAllowed)
    return new TokenError('bad-algorithm', `it must be signed with ${algorithms.join(', ')}`);
  if (error instanceof errors.JWKSNoMatchingKey)
    return new TokenError('unknown-key', 'no key has its "kid" and algorithm');
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return new TokenError('unknown-key', 'it names no key ("kid"), and several keys fit');
  if (error instanceof errors.JWTClaimValidationFailed)
    return new TokenError(claimReasons.get(error.claim) ?? 'malformed', error.message);
  if (error instanceof errors.JOSEError) return new TokenError('malformed', error.message);
  if (error instanceof TypeError) return new TokenError('malformed', 'it is not a JSON web token');
  return error;
}

const claimReasons = new Map<string, TokenRefusal>([
  ['aud', 'wrong-audience'],
  ['iss', 'wrong-issuer'],
  ['nbf', 'not-yet-valid'],
]);

function toSource(jwks: JSONWebKeySet | KeySource): KeySource {
  return 'current' in jwks ? jwks : { current: async () => jwks };
}
