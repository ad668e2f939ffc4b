import { text as readAll } from 'node:stream/consumers';
import { parseClaims, tokenAudience, tokenIssuer } from '@fleetwire/contracts/access';
import { createTokenVerifier } from '@fleetwire/auth/tokens';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { Command } from 'commander';
import { readKeys } from './key-files.ts';
import { action, print } from './output.ts';

interface Settings {
  keys?: string;
  issuer: string;
  audience: string;
  json: boolean;
}

export function tokenInspectCommand(): Command {
  const command = new Command('inspect')
    .description('say what a token holds, and with --keys whether it is good')
    .argument('[token]', 'the token, or - to read it from standard input', '-')
    .option('--keys <file>', 'JWK set, public or private, to check the signature with')
    .option('--issuer <text>', 'AUTH_ISSUER of the services', tokenIssuer)
    .option('--audience <text>', 'AUTH_AUDIENCE of the services', tokenAudience)
    .option('--json', 'print JSON', false);

  return action(command, async ({ keys, issuer, audience, json }: Settings) => {
    const [given = '-'] = command.args;
    const token = (given === '-' ? await readAll(process.stdin) : given).trim();
    const { kid, alg, payload } = decode(token);
    const verdict = keys === undefined ? undefined : await verdictOn(token, keys, issuer, audience);
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
      `expires   ${expiresAt ?? 'never'}${isExpired ? ' (has expired)' : ''}`,
      `key       ${kid} (${alg})`,
      `verdict   ${verdict ?? 'not checked: give --keys'}`,
    ];
    print(result, lines.join('\n'), json);
    if (verdict !== undefined && verdict !== 'good') process.exitCode = 1;
  });
}

function decode(token: string) {
  try {
    return { ...decodeProtectedHeader(token), payload: decodeJwt(token) };
  } catch {
    throw new Error('this is not a JSON web token');
  }
}

async function verdictOn(token: string, keys: string, issuer: string, audience: string): Promise<string> {
  const verifier = createTokenVerifier({ jwks: await readKeys(keys), issuer, audience });
  try {
    const claims = parseClaims(await verifier.verify(token));
    return claims.ok ? 'good' : `refused: ${claims.issue.message}`;
  } catch (error) {
    return `refused: ${(error as Error).message}`;
  }
}
