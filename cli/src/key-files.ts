import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { type JSONWebKeySet, parseKeySet, publicKeys } from '@fleetwire/auth/key-set';

const ownerOnly = 0o600;
const everyoneReads = 0o644;

/** `keys.json` → `keys.public.json`. */
export function publicPathOf(path: string): string {
  return `${path.replace(/\.json$/, '')}.public.json`;
}

export async function readKeys(path: string): Promise<JSONWebKeySet> {
  return parseKeySet(await readFile(path, 'utf8'));
}

/**
 * Writes the private set, readable by its owner only, and its public half beside it.
 * Each file is replaced in one step: a service that reads it sees the old set or the new one.
 */
export async function writeKeys(path: string, privateJwks: JSONWebKeySet): Promise<void> {
  await replaceFile(path, privateJwks, ownerOnly);
  await replaceFile(publicPathOf(path), publicKeys(privateJwks), everyoneReads);
}

async function replaceFile(path: string, content: object, mode: number): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, `${JSON.stringify(content, undefined, 2)}\n`, { mode, flag: 'wx' });
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}
