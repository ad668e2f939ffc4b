import { existsSync } from 'node:fs';
import { generateKeySet } from '@fleetwire/auth/key-set';
import { Command } from 'commander';
import { positiveInteger } from './arguments.ts';
import { publicPathOf, readKeys, writeKeys } from './key-files.ts';
import { action, print } from './output.ts';

interface GenerateSettings {
  readonly out: string;
  readonly kid?: string;
  readonly force: boolean;
  readonly json: boolean;
}

interface RotateSettings {
  readonly keys: string;
  readonly kid?: string;
  readonly keep: number;
  readonly json: boolean;
}

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('create a signing key (Ed25519): a private JWK set for the services that sign, and its public half')
    .requiredOption('--out <file>', 'private JWK set; the public one is written beside it as .public.json')
    .option('--kid <id>', 'id of the key (default: made from the time)')
    .option('--force', 'replace an existing file; tokens signed with its keys become invalid', false)
    .option('--json', 'print JSON', false);

  return action(command, async ({ out, kid, force, json }: GenerateSettings) => {
    if (!force && existsSync(out))
      throw new Error(`${out} already exists; add a key with "fleetwire keys rotate", or replace it with --force`);
    const { privateJwks } = await generateKeySet(kid === undefined ? {} : { kid });
    await writeKeys(out, privateJwks);
    const result = { kid: privateJwks.keys[0]?.kid, private: out, public: publicPathOf(out) };
    print(
      result,
      `key      ${result.kid}\nprivate  ${result.private} (for AUTH_JWKS_FILE; keep it secret)\npublic   ${result.public}`,
      json,
    );
  });
}

export function rotateCommand(): Command {
  const command = new Command('rotate')
    .description('add a signing key; tokens of the kept keys stay valid, and running services load the new key')
    .requiredOption('--keys <file>', 'private JWK set')
    .option('--kid <id>', 'id of the new key (default: made from the time)')
    .option('--keep <n>', 'maximum number of keys in the set; the oldest are removed', positiveInteger, 2)
    .option('--json', 'print JSON', false);

  return action(command, async ({ keys: path, kid, keep, json }: RotateSettings) => {
    const { keys } = await readKeys(path);
    if (kid !== undefined && keys.some((key) => key.kid === kid))
      throw new Error(`${path} already holds a key "${kid}"; choose another --kid`);
    const { privateJwks } = await generateKeySet(kid === undefined ? {} : { kid });
    const all = [...keys, ...privateJwks.keys];
    const kept = all.slice(-keep);
    await writeKeys(path, { keys: kept });
    const result = {
      kid: kept.at(-1)?.kid,
      kept: kept.map((key) => key.kid),
      removed: all.slice(0, -keep).map((key) => key.kid),
      private: path,
      public: publicPathOf(path),
    };
    const removed = result.removed.length > 0 ? `\nremoved  ${result.removed.join(', ')}` : '';
    print(result, `signing  ${result.kid}\nvalid    ${result.kept.join(', ')}${removed}`, json);
  });
}
