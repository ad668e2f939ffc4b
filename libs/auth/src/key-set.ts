import { readFile, stat } from 'node:fs/promises';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JSONWebKeySet, type JWK } from 'jose';

export type { JSONWebKeySet };

/** Keys that may change while a service runs. */
export interface KeySource {
  current(): Promise<JSONWebKeySet>;
}

export interface KeyFileOptions {
  readonly path: string;
  /** The file is checked for changes when a token is verified, at most this often. */
  readonly recheckMs?: number;
  readonly now?: () => number;
}

/** A new Ed25519 key pair as two JWK sets (RFC 7517, RFC 8037). Append the private key to an existing set to rotate. */
export async function generateKeySet(
  options: { readonly kid?: string } = {},
): Promise<{ privateJwks: JSONWebKeySet; publicJwks: JSONWebKeySet }> {
  const kid = options.kid ?? `key-${new Date().toISOString().replace(/[-:.]/g, '')}`;
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const privateJwks = {
    keys: [{ ...(await exportJWK(privateKey)), kid, alg: 'EdDSA', use: 'sig' }],
  };
  return { privateJwks, publicJwks: publicKeys(privateJwks) };
}

/** The set without private members (RFC 7518, 6). */
export function publicKeys(jwks: JSONWebKeySet): JSONWebKeySet {
  return { keys: jwks.keys.map((key) => (key.d === undefined ? key : publicHalf(key))) };
}

function publicHalf(key: JWK): JWK {
  return Object.fromEntries(Object.entries(key).filter(([member]) => !privateMembers.has(member))) as JWK;
}

// `key_ops` too: it says what the private half is for (RFC 7517, 4.3), and jose takes no key for verification that says "sign".
const privateMembers = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'key_ops']);

/** The keys that can sign. */
export function signingKeys(jwks: JSONWebKeySet): JWK[] {
  return jwks.keys.filter((key) => key.d !== undefined);
}

/**
 * The one algorithm that a key signs with: the key decides it, never the token (RFC 8725, 3.1).
 * @returns undefined for a key that cannot be used
 */
export function algorithmOf({ kty, crv }: JWK): 'EdDSA' | 'ES256' | 'RS256' | undefined {
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA';
  if (kty === 'EC' && crv === 'P-256') return 'ES256';
  return kty === 'RSA' ? 'RS256' : undefined;
}

/** What a key is told apart by (RFC 7638): a new key under the `kid` of a removed one has another thumbprint. */
export function thumbprintOf(key: JWK): Promise<string> {
  return calculateJwkThumbprint(key, 'sha256');
}

const thumbprints = new WeakMap<JSONWebKeySet, Promise<ReadonlySet<string>>>();

/** Thumbprints of the keys in the set, calculated once for each set. */
export function thumbprintsOf(jwks: JSONWebKeySet): Promise<ReadonlySet<string>> {
  let known = thumbprints.get(jwks);
  if (known === undefined) {
    // A key that lacks a member has no thumbprint; it verifies no token either.
    known = Promise.allSettled(jwks.keys.map(thumbprintOf)).then(
      (results) => new Set(results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))),
    );
    thumbprints.set(jwks, known);
  }
  return known;
}

/** @throws {TypeError} when the text is not a JWK set (RFC 7517) of asymmetric keys that each have a `kid` */
export function parseKeySet(text: string): JSONWebKeySet {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new TypeError('a JWK set must be JSON'); // without the cause, whose message quotes the keys
  }
  const keys = (parsed as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys) || keys.length === 0) throw new TypeError('a JWK set must hold "keys", at least one');
  const kids = keys.map((key: { kid?: unknown }) => key?.kid);
  if (!kids.every((kid) => typeof kid === 'string' && kid !== ''))
    throw new TypeError('every key of the JWK set needs a "kid"');
  if (new Set(kids).size !== kids.length) throw new TypeError('no two keys of the JWK set may share a "kid"');
  for (const key of keys as JWK[]) refuseUnusable(key);
  return { keys: keys as JWK[] };
}

/**
 * A symmetric key has no public half: every service that verifies tokens could also sign them, and the file that we hand out as
 * public would hold the secret (RFC 7517, 9.2: symmetric keys must be protected from disclosure).
 */
function refuseUnusable(key: JWK): void {
  const { kid, kty, crv, alg } = key;
  if (kty === 'oct')
    throw new TypeError(
      `key "${kid}" of the JWK set is symmetric ("kty": "oct"), which cannot be shared with services that only verify tokens; use Ed25519, P-256 or RSA: fleetwire keys generate`,
    );
  const algorithm = algorithmOf(key);
  if (algorithm === undefined)
    throw new TypeError(`key "${kid}" of the JWK set is of the type ${kty} ${crv ?? ''}; use Ed25519, P-256 or RSA`);
  if (alg !== undefined && alg !== algorithm)
    throw new TypeError(`key "${kid}" of the JWK set has "alg": "${alg}"; a key of its type signs with ${algorithm}`);
}

/**
 * Keys from a file, which is read again after it changes. While the changed file cannot be read or parsed, the earlier keys stay
 * in use; the first read throws.
 */
export async function keyFile({ path, recheckMs = 3_000, now = Date.now }: KeyFileOptions): Promise<KeySource> {
  const read = async () => parseKeySet(await readFile(path, 'utf8'));
  let keys = await read();
  let version = await fileVersion(path);
  let checkedAt = now();

  const recheck = async (): Promise<void> => {
    checkedAt = now();
    try {
      const seen = await fileVersion(path);
      if (seen === version) return;
      keys = await read();
      version = seen;
    } catch {
      // A half-written or missing file: the earlier keys stay in use until the next check.
    }
  };
  let rechecking: Promise<void> | undefined;
  return {
    current: async () => {
      if (now() - checkedAt >= recheckMs) await (rechecking ??= recheck().finally(() => (rechecking = undefined)));
      return keys;
    },
  };
}

async function fileVersion(path: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(path);
  return `${mtimeMs}/${size}/${ino}`;
}

/** The configured keys, or undefined when there are none (`AUTH_MODE=open`). */
export async function openKeySource(config: {
  authJwks: string | undefined;
  authJwksFile: string | undefined;
}): Promise<KeySource | undefined> {
  if (config.authJwksFile !== undefined) return keyFile({ path: config.authJwksFile });
  if (config.authJwks === undefined) return undefined;
  const keys = parseKeySet(config.authJwks);
  return { current: async () => keys };
}
