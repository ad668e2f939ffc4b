import { readFile } from 'node:fs/promises';
import { tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { parseKeySet } from '@fleetwire/auth/key-set';
import { createTokenMinter } from '@fleetwire/auth/tokens';

/** What a device sends to authenticate. Without a token the server must be in open mode. */
interface Credential {
  readonly token?: string;
  readonly isGateway: boolean;
}

export type Credentials = (deviceId: string) => Promise<Credential>;

const mintedTokenExpiresInSeconds = 7 * 24 * 60 * 60;

/**
 * @param source `token`: the same token for all devices; frames then name their device, as an admin's token needs. The same without any token.
 * `keysFile`: a private JWK set from which each device gets a token of its own
 */
export async function credentialsFrom(source: {
  readonly token?: string;
  readonly keysFile?: string;
}): Promise<Credentials> {
  if (source.keysFile !== undefined) {
    const privateJwks = parseKeySet(await readFile(source.keysFile, 'utf8'));
    const minter = createTokenMinter({ privateJwks, issuer: tokenIssuer, audience: tokenAudience });
    return async (deviceId) => {
      const { token } = await minter.mint({
        subject: deviceId,
        role: 'device',
        expiresInSeconds: mintedTokenExpiresInSeconds,
      });
      return { token, isGateway: false };
    };
  }
  const { token } = source;
  if (token === undefined) return async () => ({ isGateway: true });
  const credential = { token, isGateway: true };
  return async () => credential;
}
