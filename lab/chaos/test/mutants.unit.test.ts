import { readFileSync } from 'node:fs';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { faultsNamed } from '../catalogue.ts';
import { mutated, mutants, mutantsNamed } from '../mutants.ts';
import { repository } from '../mutant-copy.ts';

describe('the mutants', () => {
  it.for(mutants)('$name changes text that is in the source exactly once', ({ edits }) => {
    const sources = new Map<string, string>();
    for (const edit of edits) {
      const source = sources.get(edit.file) ?? readFileSync(join(repository, edit.file), 'utf8');
      const changed = mutated(source, edit);
      expect(changed).not.toBe(source);
      sources.set(edit.file, changed);
    }
  });

  it.for(mutants)('$name names test files and faults that exist', ({ tests, faults }) => {
    expect(tests.filter((file) => !existsSync(join(repository, file)))).toEqual([]);
    expect(faultsNamed(faults)).not.toEqual([]);
  });

  it('fails for a text that is not there, or there twice', () => {
    const edit = { file: 'a.ts', text: 'one', replacement: 'two' };
    expect(() => mutated('none', { ...edit, text: 'missing' })).toThrow('found 0 times in a.ts');
    expect(() => mutated('one one', edit)).toThrow('found 2 times in a.ts');
    expect(mutated('only one', { ...edit, replacement: '$&' })).toBe('only $&');
  });

  it('refuses a name that is not in the list', () => {
    expect(mutantsNamed(['no-dedupe']).map(({ name }) => name)).toEqual(['no-dedupe']);
    expect(() => mutantsNamed(['no-such'])).toThrow('there is no mutant "no-such"');
  });
});
