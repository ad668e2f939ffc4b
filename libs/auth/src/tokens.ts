import { decodeProtectedHeader, importJWK, jwtVerify, SignJWT, type CryptoKey, type JWK, type JWTPayload } from 'jose';
import { publicKeys, signingKeys, type JSONWebKeySet, type KeySource } from './key-set.ts';
import { TokenError, toTokenError } from './token-error.ts';

interface TokenPayload extends JWTPayload {
  readonly sub: string;
  readonly exp: number;
  readonly role?: unknown;
}

export interface TokenVerifier {
  /** @throws {TokenError} whose `reason` says why the token is refused */
  verify(token: string): Promise<TokenPayload>;
}

export interface VerifierOptions {
  /** Private members are ignored. With several keys, the token's `kid` picks. */
  readonly jwks: JSONWebKeySet | KeySource;
  readonly issuer: string;
  readonly audience: string;
  readonly clockToleranceSeconds?: number;
  /** Verified tokens remembered until they expire or the keys change; 0 remembers none. */
  readonly cacheEntriesMax?: number;
  readonly now?: () => number;
}

/** Verifies JWTs (RFC 7519) signed by EdDSA, ES256, RS256, or HS256 where the set holds a symmetric key. */
export function createTokenVerifier(options: VerifierOptions): TokenVerifier {
  const { issuer, audience, clockToleranceSeconds = 30, cacheEntriesMax = 10_000, now = Date.now } = options;
  const source = toSource(options.jwks);
  const verified = new Map<string, TokenPayload>();
  let jwks: JSONWebKeySet | undefined;
  let keys = new Map<string, VerificationKey>();

  const refresh = async (): Promise<void> => {
    const current = await source.current();
    if (current === jwks) return;
    keys = await importKeys(current);
    jwks = current;
    verified.clear();
  };

  const remember = (token: string, payload: TokenPayload): void => {
    if (cacheEntriesMax === 0) return;
    const oldest = verified.size >= cacheEntriesMax ? verified.keys().next().value : undefined;
    if (oldest !== undefined) verified.delete(oldest);
    verified.set(token, payload);
  };

  return {
    verify: async (token) => {
      await refresh();
      const known = verified.get(token);
      if (known && now() < (known.exp + clockToleranceSeconds) * 1000) return known;
      verified.delete(token);
      try {
        const { key, algorithm } = pickKey(token, keys);
        const { payload } = await jwtVerify<TokenPayload>(token, key, {
          issuer,
          audience,
          algorithms: [algorithm],
          clockTolerance: clockToleranceSeconds,
          currentDate: new Date(now()),
          requiredClaims: ['sub', 'exp'],
        });
        remember(token, payload);
        return payload;
      } catch (error) {
        throw toTokenError(error);
      }
    },
  };
}

interface MintRequest {
  readonly subject: string;
  readonly role: string;
  readonly expiresInSeconds: number;
  readonly claims?: Readonly<Record<string, unknown>>;
}

export interface TokenMinter {
  mint(request: MintRequest): Promise<{ token: string; expiresAt: Date; kid: string }>;
}

export interface MinterOptions {
  readonly privateJwks: JSONWebKeySet | KeySource;
  readonly issuer: string;
  readonly audience: string;
  /** Signs with this key; without it the last private key of the set does. */
  readonly kid?: string;
}

export function createTokenMinter({ privateJwks, issuer, audience, kid }: MinterOptions): TokenMinter {
  const source = toSource(privateJwks);
  return {
    mint: async ({ subject, role, expiresInSeconds, claims }) => {
      const jwk = signingKeys(await source.current()).findLast((key) => kid === undefined || key.kid === kid);
      if (jwk?.kid === undefined)
        throw new TypeError(`no private key${kid === undefined ? '' : ` "${kid}"`} to sign with`);
      const algorithm = algorithmOf(jwk);
      const issuedAt = Math.floor(Date.now() / 1000);
      const token = await new SignJWT({ ...claims, role })
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

interface VerificationKey {
  readonly key: CryptoKey | Uint8Array;
  /** The key decides its algorithm, never the token: a public key must not be taken for an HMAC secret. */
  readonly algorithm: string;
}

function pickKey(token: string, keys: ReadonlyMap<string, VerificationKey>): VerificationKey {
  const { kid, alg } = decodeProtectedHeader(token);
  if (kid === undefined && keys.size > 1) throw new TokenError('unknown-key', 'the token names no key ("kid")');
  const picked = kid === undefined ? keys.values().next().value : keys.get(kid);
  if (!picked) throw new TokenError('unknown-key', `no key is called "${kid}"`);
  if (alg !== picked.algorithm)
    throw new TokenError('bad-algorithm', `the key takes ${picked.algorithm}, not "${alg}"`);
  return picked;
}

async function importKeys(jwks: JSONWebKeySet): Promise<Map<string, VerificationKey>> {
  const imported = publicKeys(jwks).keys.map(async (jwk): Promise<[string, VerificationKey]> => {
    const algorithm = algorithmOf(jwk);
    return [jwk.kid ?? '', { key: await importJWK(jwk, algorithm), algorithm }];
  });
  return new Map(await Promise.all(imported));
}

function algorithmOf({ kty, crv, kid }: JWK): string {
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA';
  if (kty === 'EC' && crv === 'P-256') return 'ES256';
  if (kty === 'RSA') return 'RS256';
  if (kty === 'oct') return 'HS256';
  throw new TypeError(
    `key "${kid}": ${kty} ${crv ?? ''} cannot be used here; give Ed25519, P-256, RSA or a symmetric key`,
  );
}

function toSource(jwks: JSONWebKeySet | KeySource): KeySource {
  return 'current' in jwks ? jwks : { current: async () => jwks };
}
