import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { derivedKey } from '../derived-key.ts';

/** Makes secrets of 256 random bits, and knows its own: what a client made up never reaches the database. */
export interface Secrets {
  create(): string;
  /** What is stored in its place; undefined for a secret that was not created here. */
  digestOf(secret: string): Buffer | undefined;
}

const secretBytes = 32;
const macBytes = 16;

/** @param purpose secrets of one purpose are refused for another */
export function createSecrets(databaseUrl: string, purpose: string): Secrets {
  const key = derivedKey(databaseUrl, `fleetwire query-api ${purpose}`);
  const macOf = (random: Buffer): Buffer => createHmac('sha256', key).update(random).digest().subarray(0, macBytes);
  return {
    create: () => {
      const random = randomBytes(secretBytes);
      return Buffer.concat([random, macOf(random)]).toString('base64url');
    },
    digestOf: (secret) => {
      const bytes = Buffer.from(secret, 'base64url');
      if (bytes.length !== secretBytes + macBytes || bytes.toString('base64url') !== secret) return undefined;
      const random = bytes.subarray(0, secretBytes);
      const isOwn = timingSafeEqual(bytes.subarray(secretBytes), macOf(random));
      return isOwn ? createHash('sha256').update(random).digest() : undefined;
    },
  };
}
