import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Role, tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { generateKeySet, parseKeySet, publicKeys } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';

const tokenLifetimeSeconds = 30 * 24 * 60 * 60;

export interface Keys {
  /** For whoever mints tokens; readable by its owner alone. */
  readonly privateFile: string;
  /** For whoever only verifies them. */
  readonly publicFile: string;
  mint(subject: string, role: Role): Promise<string>;
}

/** The keys of this data folder, made on the first start, so that tokens stay good over restarts. */
export async function openKeys(dataDir: string): Promise<Keys> {
  const privateFile = join(dataDir, 'keys.json');
  const publicFile = join(dataDir, 'keys.public.json');
  if (!existsSync(privateFile)) {
    const { privateJwks: created } = await generateKeySet();
    writeFileSync(privateFile, JSON.stringify(created), { mode: 0o600 });
  }
  const privateJwks = parseKeySet(readFileSync(privateFile, 'utf8'));
  writeFileSync(publicFile, JSON.stringify(publicKeys(privateJwks)));
  const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
  return {
    privateFile,
    publicFile,
    mint: async (subject, role) => (await minter.mint({ subject, role, expiresInSeconds: tokenLifetimeSeconds })).token,
  };
}
