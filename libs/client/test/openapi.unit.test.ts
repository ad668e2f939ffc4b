import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { typesOfDocument } from './types-of-document.ts';

it('has the types of docs/openapi.json (vitest -u writes them)', async () => {
  const document = JSON.parse(await readFile(new URL('../../../docs/openapi.json', import.meta.url), 'utf8'));
  await expect(typesOfDocument(document)).toMatchFileSnapshot('../src/openapi.ts');
});
