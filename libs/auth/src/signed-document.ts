import { CompactSign, compactVerify, createLocalJWKSet, errors, importJWK } from 'jose';
import { algorithmOf, publicKeys, signingKeys, type KeySource } from './key-set.ts';

/**
 * Signs JSON documents as JWS (RFC 7515) with the last private key, as tokens are. The type is part of what is signed: a document of one type
 * is not accepted as another, nor as a token.
 */
export async function signDocument(document: object, type: string, keys: KeySource): Promise<string> {
  const key = signingKeys(await keys.current()).at(-1);
  const algorithm = key && algorithmOf(key);
  if (key?.kid === undefined || algorithm === undefined) throw new TypeError('no private key to sign with');
  return new CompactSign(Buffer.from(JSON.stringify(document)))
    .setProtectedHeader({ alg: algorithm, kid: key.kid, typ: type })
    .sign(await importJWK(key, algorithm));
}

/** A document that none of the keys has signed as this type. */
export class SignatureError extends Error {
  override readonly name = 'SignatureError';
}

/** @throws {SignatureError} */
export async function verifyDocument(text: string, type: string, keys: KeySource): Promise<unknown> {
  try {
    const { payload, protectedHeader } = await compactVerify(
      text,
      createLocalJWKSet(publicKeys(await keys.current())),
      {
        algorithms: ['EdDSA', 'ES256', 'RS256'],
      },
    );
    if (protectedHeader.typ !== type)
      throw new SignatureError(`it is of the type ${String(protectedHeader.typ)}, not ${type}`);
    return JSON.parse(Buffer.from(payload).toString('utf8')) as unknown;
  } catch (error) {
    if (error instanceof errors.JOSEError) throw new SignatureError(error.message, { cause: error });
    throw error;
  }
}
