import { access } from 'node:fs/promises';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { Command } from 'commander';
import { publicPathOf, writeKeys } from './key-files.ts';
import { action, print } from './output.ts';

interface Settings {
  out: string;
  kid?: string;
  force: boolean;
  json: boolean;
}

export function keysGenerateCommand(): Command {
  const command = new Command('generate')
    .description('make a signing key (Ed25519): a private JWK set for services, and its public half')
    .requiredOption('--out <file>', 'private JWK set; the public one is written beside it as .public.json')
    .option('--kid <id>', 'name of the key (default: made from the time)')
    .option('--force', 'replace a file that is there: its tokens become worthless', false)
    .option('--json', 'print JSON', false);

  return action(command, async ({ out, kid, force, json }: Settings) => {
    if (!force && (await exists(out)))
      throw new Error(`${out} is there already; add a key with "fleetwire keys rotate", or replace it with --force`);
    const { privateJwks } = await generateKeySet(kid === undefined ? {} : { kid });
    await writeKeys(out, privateJwks);
    const result = { kid: privateJwks.keys[0]?.kid, private: out, public: publicPathOf(out) };
    print(
      result,
      `Key ${result.kid}\nprivate  ${result.private} (for AUTH_JWKS_FILE; keep it secret)\npublic   ${result.public}`,
      json,
    );
  });
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
