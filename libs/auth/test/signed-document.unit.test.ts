import { describe, expect, it } from 'vitest';
import { generateKeySet } from '../src/key-set.ts';
import { SignatureError, signDocument, verifyDocument } from '../src/signed-document.ts';
import { createTokenMinter, createTokenVerifier } from '../src/tokens.ts';

const source = (keys: Awaited<ReturnType<typeof generateKeySet>>['privateJwks']) => ({ current: async () => keys });
const { privateJwks, publicJwks } = await generateKeySet({ kid: 'ours' });
const stranger = await generateKeySet({ kid: 'ours' });
const signed = await signDocument({ devices: 1 }, 'list', source(privateJwks));

describe('a signed document', () => {
  it('is read with the public key', async () => {
    expect(await verifyDocument(signed, 'list', source(publicJwks))).toEqual({ devices: 1 });
  });

  it('is refused where another key signed it, its text was changed, or it is of another type', async () => {
    const [header, , signature] = signed.split('.');
    const changed = `${header}.${Buffer.from('{"devices":2}').toString('base64url')}.${signature}`;
    for (const [text, type] of [
      [await signDocument({}, 'list', source(stranger.privateJwks)), 'list'],
      [changed, 'list'],
      [signed, 'other'],
      ['garbage', 'list'],
    ] as const)
      await expect(verifyDocument(text, type, source(publicJwks))).rejects.toThrow(SignatureError);
  });

  it('is no token, and a token is no document', async () => {
    const claims = { issuer: 'i', audience: 'a' };
    const verifier = createTokenVerifier({ jwks: publicJwks, ...claims });
    await expect(verifier.verify(signed)).rejects.toThrow();
    const minter = createTokenMinter({ privateJwks, ...claims });
    const { token } = await minter.mint({ subject: 's', role: 'admin', expiresInSeconds: 60 });
    await expect(verifyDocument(token, 'list', source(publicJwks))).rejects.toThrow(SignatureError);
  });

  it('needs a private key', async () => {
    await expect(signDocument({}, 'list', source(publicJwks))).rejects.toThrow('no private key');
  });
});
