import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseKeySet } from '@fleetwire/auth/key-set';
import { type Keys, createKeys, keysOf } from '@fleetwire/platform/keys';

export interface KeyFiles extends Keys {
  /** For the services and tools that mint tokens; only its owner can read it. */
  readonly privateFile: string;
  /** For the services that only verify tokens. */
  readonly publicFile: string;
}

/** The keys of this data folder, created by the first start, so that tokens stay valid over restarts. */
export async function openKeys(dataDir: string): Promise<KeyFiles> {
  const privateFile = join(dataDir, 'keys.json');
  const publicFile = join(dataDir, 'keys.public.json');
  if (!existsSync(privateFile)) {
    const { privateJwks } = await createKeys();
    writeFileSync(privateFile, JSON.stringify(privateJwks), { mode: 0o600 });
  }
  const keys = keysOf(parseKeySet(readFileSync(privateFile, 'utf8')));
  writeFileSync(publicFile, JSON.stringify(keys.publicJwks));
  return { ...keys, privateFile, publicFile };
}
