import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { generateKeySet, keyFile, parseKeySet, publicKeys, type JSONWebKeySet } from '../src/key-set.ts';
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
  it('carry subject, role and further claims from minter to verifier', async () => {
    const minter = createTokenMinter({ privateJwks, ...names });
    const { token, kid, expiresAt } = await minter.mint({ ...someone, claims: { devices: ['pump-*'] } });
    expect(kid).toBe('first');
    const payload = await createTokenVerifier({ jwks: publicJwks, ...names }).verify(token);
    expect(payload).toMatchObject({ sub: 'pump-1', role: 'device', devices: ['pump-*'] });
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

  it('expire, and wait for their time, with the tolerance that was asked for', async () => {
    const token = await mint(privateJwks);
    const after = (seconds: number) => () => Date.now() + seconds * 1000;
    expect(await reason(token, { now: after(80), clockToleranceSeconds: 30 })).toBe('accepted');
    expect(await reason(token, { now: after(95), clockToleranceSeconds: 30 })).toBe('expired');
    const early = await mint(privateJwks, { claims: { nbf: Math.floor(Date.now() / 1000) + 600 } });
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

  it('may be signed by a P-256, an RSA or a symmetric key', async () => {
    const secret: JSONWebKeySet = { keys: [{ kty: 'oct', kid: 's', k: Buffer.alloc(32, 7).toString('base64url') }] };
    expect(await reason(await mint(secret), { jwks: secret })).toBe('accepted');
    for (const algorithm of ['ES256', 'RS256']) {
      const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
      const jwks = { keys: [{ ...(await exportJWK(privateKey)), kid: algorithm }] };
      expect(await reason(await mint(jwks), { jwks })).toBe('accepted');
    }
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
  it('is read again after it changed, at most once per interval, and survives a broken write', async () => {
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
    expect(await outcome(old), 'a key taken away is forgotten with the tokens it signed').toBe('unknown-key');

    await writeFile(path, '{"keys": [');
    time += 10_000;
    expect(await outcome(fresh)).toBe('accepted');
    await rm(directory, { recursive: true });
    time += 10_000;
    expect(await outcome(fresh)).toBe('accepted');
  });

  it.each(['', 'nonsense', '{}', '{"keys":[]}', '{"keys":[{"kty":"oct"}]}', '{"keys":[{"kid":"a"},{"kid":"a"}]}'])(
    'that holds no usable key set is refused: %j',
    (text) => {
      expect(() => parseKeySet(text)).toThrow(TypeError);
    },
  );
});

it('reads bearer credentials whatever the case of the scheme, and nothing else', () => {
  expect(readBearer('bearer  abc.def')).toBe('abc.def');
  expect(readBearer('Basic abc')).toBeUndefined();
  expect(readBearer('Bearer a b')).toBeUndefined();
  expect(readBearer(undefined)).toBeUndefined();
});
