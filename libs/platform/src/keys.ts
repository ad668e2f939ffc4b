import { type JSONWebKeySet, generateKeySet, publicKeys } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { type Role, tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';

const tokenLifetimeSeconds = 30 * 24 * 60 * 60;

export interface Keys {
  readonly privateJwks: JSONWebKeySet;
  readonly publicJwks: JSONWebKeySet;
  /** A token that the services accept for 30 days. */
  token(subject: string, role: Role): Promise<string>;
}

export async function createKeys(): Promise<Keys> {
  const { privateJwks } = await generateKeySet();
  return keysOf(privateJwks);
}

export function keysOf(privateJwks: JSONWebKeySet): Keys {
  const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
  return {
    privateJwks,
    publicJwks: publicKeys(privateJwks),
    token: async (subject, role) =>
      (await minter.mint({ subject, role, expiresInSeconds: tokenLifetimeSeconds })).token,
  };
}
