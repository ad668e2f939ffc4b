import { readFile, stat } from 'node:fs/promises';
import { exportJWK, generateKeyPair, type JSONWebKeySet, type JWK } from 'jose';

export type { JSONWebKeySet };

/** Keys that may change while a service runs. */
export interface KeySource {
  current(): Promise<JSONWebKeySet>;
}

export interface KeyFileOptions {
  readonly path: string;
  /** The file is looked at when a token comes, at most this often. */
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

/** The set without private members. Symmetric keys have no public half: they stay as they are. */
export function publicKeys(jwks: JSONWebKeySet): JSONWebKeySet {
  return {
    keys: jwks.keys.map(
      (key) => Object.fromEntries(Object.entries(key).filter(([member]) => !privateMembers.has(member))) as JWK,
    ),
  };
}

const privateMembers = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth']);

/** The keys that can sign. */
export function signingKeys(jwks: JSONWebKeySet): JWK[] {
  return jwks.keys.filter((key) => key.d !== undefined || key.kty === 'oct');
}

/** @throws {TypeError} when the text is not a JWK set whose keys each have a `kid` */
export function parseKeySet(text: string): JSONWebKeySet {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new TypeError('a JWK set must be JSON'); // no cause: its message quotes the keys
  }
  const keys = (parsed as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys) || keys.length === 0) throw new TypeError('a JWK set must hold "keys", at least one');
  const kids = keys.map((key: { kid?: unknown }) => key?.kid);
  if (!kids.every((kid) => typeof kid === 'string' && kid !== ''))
    throw new TypeError('every key of the JWK set needs a "kid"');
  if (new Set(kids).size !== kids.length) throw new TypeError('no two keys of the JWK set may share a "kid"');
  return { keys: keys as JWK[] };
}

/**
 * Keys from a file, read again after it changes. A file that cannot be read or parsed any more leaves the keys of before;
 * the first read throws.
 */
export async function keyFile({ path, recheckMs = 10_000, now = Date.now }: KeyFileOptions): Promise<KeySource> {
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
      // A half-written or missing file: the keys of before stay until the next look.
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
