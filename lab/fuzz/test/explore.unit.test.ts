import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Budget, explore } from '../explore.ts';
import { nastyText } from '../nasty.ts';
import type { Subject } from '../subject.ts';

/** A service that fails for NUL and for long texts. */
function fragile(): Subject<readonly string[]> {
  return {
    name: 'fragile',
    inputs: fc.array(nastyText, { maxLength: 5 }),
    close: () => {},
    run: async (texts) => {
      const what = texts.some((text) => text.includes('\0'))
        ? 'NUL'
        : texts.some((text) => text.length > 500)
          ? 'long'
          : undefined;
      return { sent: 1, ...(what && { finding: { signature: what, what, input: JSON.stringify(texts) } }) };
    },
  };
}

const budget = (inputsMax: number) =>
  new Budget({ inputsMax, durationMs: 10_000, signal: new AbortController().signal });

it('reports each defect once, with the smallest input that shows it', async () => {
  const failures = await explore(fragile(), { seed: 7, budget: budget(1_000), known: new Set() });
  expect(failures.map(({ what }) => what).toSorted()).toEqual(['NUL', 'long']);
  for (const { input } of failures) expect(JSON.parse(input)).toHaveLength(1);
});

it('sends a reported input again from its seed and path', async () => {
  const [first] = await explore(fragile(), { seed: 7, budget: budget(500), known: new Set() });
  const { seed, path, input } = first!;
  const repeated = budget(1);
  expect(await explore(fragile(), { seed, path, budget: repeated, known: new Set() })).toMatchObject([{ input }]);
  expect(repeated.sent).toBe(1);
});
