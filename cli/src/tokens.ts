import { text as readAll } from 'node:stream/consumers';
import { createTokenMinter, createTokenVerifier } from '@fleetwire/auth/tokens';
import { type Role, parseClaims, roles, tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { parseDuration } from '@fleetwire/contracts/timestamp';
import { Command, InvalidArgumentError, Option } from 'commander';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { readKeys } from './key-files.ts';
import { action, print } from './output.ts';

interface MintSettings {
  readonly keys: string;
  readonly role: Role;
  readonly subject: string;
  readonly expires: number;
  readonly kid?: string;
  readonly issuer: string;
  readonly audience: string;
  readonly json: boolean;
}

interface InspectSettings {
  readonly keys?: string;
  readonly issuer: string;
  readonly audience: string;
  readonly json: boolean;
}

export function mintCommand(): Command {
  const command = withIssuer(
    new Command('mint')
      .description('sign a token')
      .requiredOption('--keys <file>', 'private JWK set')
      .addOption(new Option('--role <role>', 'role of the caller').choices(roles).makeOptionMandatory())
      .requiredOption('--subject <name>', 'name of the caller; for a device, its id', subject)
      .option('--expires <time>', 'lifetime, such as 12h or 30d', lifetime, 30 * 24 * 60 * 60)
      .option('--kid <id>', 'id of the key to sign with (default: the newest)'),
  );

  return action(command, async ({ keys, role, subject, expires, kid, issuer, audience, json }: MintSettings) => {
    const privateJwks = await readKeys(keys);
    const minter = createTokenMinter({ privateJwks, issuer, audience, ...(kid === undefined ? {} : { kid }) });
    const minted = await minter.mint({ subject, role, expiresInSeconds: expires });
    print({ ...minted, subject, role }, minted.token, json);
  });
}

export function inspectCommand(): Command {
  const command = withIssuer(
    new Command('inspect')
      .description('show the claims of a token; with --keys, also verify it')
      .argument('[token]', 'the token, or - for standard input', '-')
      .option('--keys <file>', 'JWK set, public or private, to verify the token with'),
  );

  return action(command, async ({ keys, issuer, audience, json }: InspectSettings) => {
    const [given = '-'] = command.args;
    const token = (given === '-' ? await readAll(process.stdin) : given).trim();
    const { kid, alg, payload } = decode(token);
    const verdict = keys === undefined ? undefined : await verify(token, keys, issuer, audience);
    const expiresAt = payload.exp === undefined ? undefined : new Date(payload.exp * 1_000).toISOString();
    const isExpired = payload.exp !== undefined && payload.exp * 1_000 < Date.now();
    const result = {
      subject: payload.sub,
      role: payload['role'],
      issuer: payload.iss,
      audience: payload.aud,
      expiresAt,
      isExpired,
      kid,
      alg,
      verdict,
    };
    const lines = [
      `subject   ${result.subject}`,
      `role      ${String(result.role)}`,
      `expires   ${expiresAt ?? 'never'}${isExpired ? ' (expired)' : ''}`,
      `key       ${kid} (${alg})`,
      `verdict   ${verdict ?? 'not verified: give --keys'}`,
    ];
    print(result, lines.join('\n'), json);
    if (verdict !== undefined && verdict !== 'good') process.exitCode = 1;
  });
}

function withIssuer(command: Command): Command {
  return command
    .option('--issuer <text>', 'AUTH_ISSUER of the services', tokenIssuer)
    .option('--audience <text>', 'AUTH_AUDIENCE of the services', tokenAudience)
    .option('--json', 'print JSON', false);
}

function decode(token: string) {
  try {
    return { ...decodeProtectedHeader(token), payload: decodeJwt(token) };
  } catch {
    throw new Error('this is not a JSON web token');
  }
}

/** @returns `good`, or `refused: ` and the reason */
async function verify(token: string, keys: string, issuer: string, audience: string): Promise<string> {
  const verifier = createTokenVerifier({ jwks: await readKeys(keys), issuer, audience });
  try {
    const claims = parseClaims((await verifier.verify(token)).payload);
    return claims.ok ? 'good' : `refused: ${claims.issue.message}`;
  } catch (error) {
    return `refused: ${(error as Error).message}`;
  }
}

function subject(text: string): string {
  const claims = parseClaims({ sub: text, role: 'device' });
  if (claims.ok) return text;
  throw new InvalidArgumentError('It must be a letter or digit, then letters, digits and . _ : -');
}

/** @returns seconds */
function lifetime(text: string): number {
  const seconds = Math.floor((parseDuration(text) ?? 0) / 1_000);
  if (seconds > 0) return seconds;
  throw new InvalidArgumentError('It must be a time such as 90s, 12h or 30d.');
}
