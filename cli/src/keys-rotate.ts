import { generateKeySet } from '@fleetwire/auth/key-set';
import { Command, InvalidArgumentError } from 'commander';
import { publicPathOf, readKeys, writeKeys } from './key-files.ts';
import { action, print } from './output.ts';

interface Settings {
  keys: string;
  kid?: string;
  keep: number;
  json: boolean;
}

export function keysRotateCommand(): Command {
  const command = new Command('rotate')
    .description(
      'add a signing key; tokens of the older keys that are kept stay good. Running services take it up by themselves',
    )
    .requiredOption('--keys <file>', 'private JWK set')
    .option('--kid <id>', 'name of the new key (default: made from the time)')
    .option('--keep <n>', 'how many keys the set may hold; the oldest go first', atLeastOne, 2)
    .option('--json', 'print JSON', false);

  return action(command, async ({ keys: path, kid, keep, json }: Settings) => {
    const { keys } = await readKeys(path);
    if (kid !== undefined && keys.some((key) => key.kid === kid))
      throw new Error(`${path} holds a key "${kid}" already`);
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
    print(
      result,
      `New tokens are signed by ${result.kid}; good are those of ${result.kept.join(', ')}${result.removed.length > 0 ? `; removed ${result.removed.join(', ')}` : ''}`,
      json,
    );
  });
}

function atLeastOne(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
}
