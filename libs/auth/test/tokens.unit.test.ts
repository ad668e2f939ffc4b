import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { generateKeySet, keyFile, openKeySource, parseKeySet, publicKeys, type JSONWebKeySet } from '../src/key-set.ts';
import { createTokenMinter, createTokenVerifier, readBearer, type VerifierOptions } from '../src/tokens.ts';

const names = { issuer: 'fleetwire', audience: 'fleetwire' };
const someone = { subject: 'pump-1', role: 'device', expiresInSeconds: 60 };
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

let privateJwks: JSONWebKeySet;
let publicJwks: JSONWebKeySet;
beforeAll(async () => {
  ({ privateJwks, publicJwks } = await generateKeySet({ kid: 'first' }));
});

const mint = async (from: JSONWebKeySet, changes = {}) => {
  const { token } = await createTokenMinter({ privateJwks: from, ...names, ...changes }).mint({
    ...someone,
    ...changes,
  });
  return token;
};
const reason = async (token: string, options: Partial<VerifierOptions> = {}) => {
  const verifier = createTokenVerifier({ jwks: publicJwks, ...names, ...options });
  return verifier.verify(token).then(
    () => 'accepted',
    (error: { reason?: string }) => error.reason,
  );
};

describe('tokens', () => {
  it('carry subject and role from minter to verifier', async () => {
    const minter = createTokenMinter({ privateJwks, ...names });
    const { token, kid, expiresAt } = await minter.mint(someone);
    expect(kid).toBe('first');
    const { payload } = await createTokenVerifier({ jwks: publicJwks, ...names }).verify(token);
    expect(payload).toMatchObject({ sub: 'pump-1', role: 'device' });
    expect(payload.exp * 1000).toBe(expiresAt.getTime());
  });

  it('are refused when forged: another key under the same name, or a changed payload', async () => {
    const stranger = await generateKeySet({ kid: 'first' });
    expect(await reason(await mint(stranger.privateJwks))).toBe('bad-signature');
    const [header, , signature] = (await mint(privateJwks)).split('.');
    const claims = { sub: 'pump-1', role: 'admin', iss: 'fleetwire', aud: 'fleetwire', exp: 9_999_999_999 };
    expect(await reason(`${header}.${encode(claims)}.${signature}`)).toBe('bad-signature');
  });

  it('are refused without a signature (alg none), and when a public key is used as an HMAC secret', async () => {
    const claims = { sub: 'x', role: 'admin', iss: 'fleetwire', aud: 'fleetwire', exp: 9_999_999_999 };
    expect(await reason(`${encode({ alg: 'none', kid: 'first' })}.${encode(claims)}.`)).toBe('bad-algorithm');
    const confused = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', kid: 'first' })
      .sign(Buffer.from(publicJwks.keys[0]?.x ?? '', 'base64url'));
    expect(await reason(confused)).toBe('bad-algorithm');
  });

  it('expire after the configured clock tolerance, and are refused before their "nbf"', async () => {
    const token = await mint(privateJwks);
    const after = (seconds: number) => () => Date.now() + seconds * 1000;
    expect(await reason(token, { now: after(80), clockToleranceSeconds: 30 })).toBe('accepted');
    expect(await reason(token, { now: after(95), clockToleranceSeconds: 30 })).toBe('expired');
    const inTenMinutes = Math.floor(Date.now() / 1000) + 600;
    const early = await new SignJWT({ sub: 'x', iss: 'fleetwire', aud: 'fleetwire', nbf: inTenMinutes })
      .setProtectedHeader({ alg: 'EdDSA', kid: 'first' })
      .setExpirationTime('1h')
      .sign(await importJWK(privateJwks.keys[0]!, 'EdDSA'));
    expect(await reason(early)).toBe('not-yet-valid');
  });

  it.each([
    ['another audience', { audience: 'elsewhere' }, 'wrong-audience'],
    ['another issuer', { issuer: 'elsewhere' }, 'wrong-issuer'],
  ])('for %s are refused', async (_name, changes, expected) => {
    expect(await reason(await mint(privateJwks, changes))).toBe(expected);
  });

  it.each(['', 'x', 'a.b.c', 'eyJhbGciOiJFZERTQSJ9.e30.', '🙂.🙂.🙂'])(
    'that are no tokens are malformed: %j',
    async (text) => {
      expect(['malformed', 'bad-signature']).toContain(await reason(text));
    },
  );

  it('that never expire are refused', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const token = await new SignJWT({ sub: 'x', iss: 'fleetwire', aud: 'fleetwire' })
      .setProtectedHeader({ alg: 'ES256', kid: 'p256' })
      .sign(privateKey);
    expect(await reason(token, { jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: 'p256' }] } })).toBe(
      'malformed',
    );
  });

  it.each(['ES256', 'RS256'])('may be signed by a key for %s', async (algorithm) => {
    const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
    const jwks = { keys: [{ ...(await exportJWK(privateKey)), kid: algorithm, key_ops: ['sign'] }] };
    expect(await reason(await mint(jwks), { jwks })).toBe('accepted');
  });

  it('are verified with the key that their "kid" names, and without a "kid" by the only key that fits', async () => {
    const second = await generateKeySet({ kid: 'second' });
    const nameless = await new SignJWT({ sub: 'x', iss: 'fleetwire', aud: 'fleetwire' })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setExpirationTime('1h')
      .sign(await importJWK(privateJwks.keys[0]!, 'EdDSA'));
    expect(await reason(nameless)).toBe('accepted');
    expect(await reason(nameless, { jwks: { keys: [...publicJwks.keys, ...second.publicJwks.keys] } })).toBe(
      'unknown-key',
    );
  });

  it('stay valid while their key is in the set, whichever key signs now', async () => {
    const second = await generateKeySet({ kid: 'second' });
    const rotated = { keys: [...privateJwks.keys, ...second.privateJwks.keys] };
    const old = await mint(privateJwks);
    const fresh = await mint(rotated);
    expect(await reason(old, { jwks: publicKeys(rotated) })).toBe('accepted');
    expect(await reason(fresh, { jwks: publicKeys(rotated) })).toBe('accepted');
    expect(await reason(fresh)).toBe('unknown-key');
    expect(await reason(old, { jwks: second.publicJwks })).toBe('unknown-key');
  });
});

describe('a key file', () => {
  it('is read again after it changed, at most once per interval, and keeps the earlier keys while it is broken', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'fleetwire-'));
    const path = join(directory, 'jwks.json');
    await writeFile(path, JSON.stringify(publicJwks));
    let time = Date.now();
    const now = () => time;
    const verifier = createTokenVerifier({ jwks: await keyFile({ path, recheckMs: 10_000, now }), ...names });
    const outcome = (token: string) =>
      verifier.verify(token).then(
        () => 'accepted',
        (error: { reason: string }) => error.reason,
      );
    const old = await mint(privateJwks);
    expect(await outcome(old)).toBe('accepted');

    const second = await generateKeySet({ kid: 'second' });
    const fresh = await mint(second.privateJwks);
    await writeFile(path, JSON.stringify({ keys: [...second.publicJwks.keys] }));
    expect(await outcome(fresh)).toBe('unknown-key');
    time += 10_000;
    expect(await outcome(fresh)).toBe('accepted');
    expect(await outcome(old), 'tokens of a removed key are no longer accepted').toBe('unknown-key');

    await writeFile(path, '{"keys": [');
    time += 10_000;
    expect(await outcome(fresh)).toBe('accepted');
    await rm(directory, { recursive: true });
    time += 10_000;
    expect(await outcome(fresh)).toBe('accepted');
  });

  it.each([
    ['', 'must be JSON'],
    ['nonsense', 'must be JSON'],
    ['{}', 'at least one'],
    ['{"keys":[]}', 'at least one'],
    ['{"keys":[{"kty":"RSA"}]}', 'needs a "kid"'],
    ['{"keys":[{"kid":"a"},{"kid":"a"}]}', 'share a "kid"'],
    ['{"keys":[{"kid":"a","kty":"OKP","crv":"X25519"}]}', 'key "a" of the JWK set is of the type OKP X25519'],
    ['{"keys":[{"kid":"a","kty":"RSA","alg":"RS512"}]}', 'has "alg": "RS512"'],
  ])('that holds no usable key set is refused: %j', (text, message) => {
    expect(() => parseKeySet(text)).toThrow(TypeError);
    expect(() => parseKeySet(text)).toThrow(message);
  });

  it('with a symmetric key is refused, because its public set would hold the secret', () => {
    const secret = Buffer.alloc(32, 7).toString('base64url');
    const text = JSON.stringify({ keys: [...publicJwks.keys, { kty: 'oct', kid: 'shared', k: secret }] });
    const refusal = (): JSONWebKeySet => parseKeySet(text);
    expect(refusal).toThrow(/^key "shared" of the JWK set is symmetric .* use Ed25519, P-256 or RSA/);
    expect(refusal).not.toThrow(secret);
  });

  it('with a symmetric key ends the start of a service', async () => {
    const authJwks = JSON.stringify({ keys: [{ kty: 'oct', kid: 'shared', k: 'c2VjcmV0' }] });
    await expect(openKeySource({ authJwks, authJwksFile: undefined })).rejects.toThrow('is symmetric');
  });
});

it('reads bearer credentials whatever the case of the scheme, and nothing else', () => {
  expect(readBearer('bearer  abc.def')).toBe('abc.def');
  expect(readBearer('Basic abc')).toBeUndefined();
  expect(readBearer('Bearer a b')).toBeUndefined();
  expect(readBearer(undefined)).toBeUndefined();
});
