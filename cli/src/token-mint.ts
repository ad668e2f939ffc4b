import { type Role, parseClaims, roles, tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { parseDuration } from '@fleetwire/contracts/duration';
import { Command, InvalidArgumentError, Option } from 'commander';
import { readKeys } from './key-files.ts';
import { action, print } from './output.ts';

interface Settings {
  keys: string;
  role: Role;
  subject: string;
  expires: number;
  kid?: string;
  issuer: string;
  audience: string;
  json: boolean;
}

export function tokenMintCommand(): Command {
  const command = new Command('mint')
    .description('sign a token')
    .requiredOption('--keys <file>', 'private JWK set')
    .addOption(new Option('--role <role>', 'what it may do').choices(roles).makeOptionMandatory())
    .requiredOption('--subject <name>', 'who it is for; of a device, its id', subject)
    .option('--expires <time>', 'how long it is good, such as 12h or 30d', expiry, 30 * 24 * 60 * 60)
    .option('--kid <id>', 'sign with this key (default: the newest)')
    .option('--issuer <text>', 'AUTH_ISSUER of the services', tokenIssuer)
    .option('--audience <text>', 'AUTH_AUDIENCE of the services', tokenAudience)
    .option('--json', 'print JSON', false);

  return action(command, async ({ keys, role, subject, expires, kid, issuer, audience, json }: Settings) => {
    const privateJwks = await readKeys(keys);
    const minter = createTokenMinter({ privateJwks, issuer, audience, ...(kid === undefined ? {} : { kid }) });
    const minted = await minter.mint({ subject, role, expiresInSeconds: expires });
    print({ ...minted, subject, role }, minted.token, json);
  });
}

function subject(text: string): string {
  const claims = parseClaims({ sub: text, role: 'device' });
  if (claims.ok) return text;
  throw new InvalidArgumentError('It must be a letter or digit, then letters, digits and . _ : -');
}

/** @returns seconds */
function expiry(text: string): number {
  const seconds = Math.floor((parseDuration(text) ?? 0) / 1_000);
  if (seconds > 0) return seconds;
  throw new InvalidArgumentError('It must be a time such as 90s, 12h or 30d.');
}
