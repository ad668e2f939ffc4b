import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contains, offeredBlocks, sequenceBlockSize } from '../src/sequence-blocks.ts';

const identities = fc.array(
  fc.record({ stream: fc.integer({ min: 1, max: 3 }), seq: fc.integer({ min: 0, max: 3_000 }) }),
  {
    maxLength: 200,
  },
);

function offer(batch: readonly { stream: number; seq: number }[]) {
  return offeredBlocks(
    batch.map(({ stream }) => stream),
    batch.map(({ seq }) => seq),
  );
}

describe('offered blocks', () => {
  it('write runs as ranges, the way Postgres does', () => {
    const { blocks } = offer([5, 6, 7, 20, 22].map((seq) => ({ stream: 1, seq })));
    expect(blocks.map(({ ranges }) => ranges)).toEqual(['{[5,8),[20,21),[22,23)}']);
  });

  it('cut a run where a block ends', () => {
    const { blocks } = offer([1_023, 1_024].map((seq) => ({ stream: 1, seq })));
    expect(blocks.map(({ block, ranges }) => [block, ranges])).toEqual([
      [0, '{[1023,1024)}'],
      [1, '{[1024,1025)}'],
    ]);
  });

  it('keep the first of an identity that comes twice', () => {
    const { order } = offer([
      { stream: 1, seq: 4 },
      { stream: 1, seq: 3 },
      { stream: 1, seq: 4 },
    ]);
    expect(order).toEqual([1, 0]);
  });

  it('take the greatest sequence number', () => {
    const seq = Number.MAX_SAFE_INTEGER - 1;
    expect(offer([{ stream: 1, seq }]).blocks).toMatchObject([{ ranges: `{[${seq},${seq + 1})}` }]);
  });

  it('hold each identity of the batch once, and nothing else', () => {
    fc.assert(
      fc.property(identities, (batch) => {
        const { blocks } = offer(batch);
        const held = blocks.flatMap(({ streamKey, block, ranges }) =>
          Array.from({ length: sequenceBlockSize }, (_, index) => block * sequenceBlockSize + index)
            .filter((seq) => contains(ranges, seq))
            .map((seq) => `${streamKey}/${seq}`),
        );
        expect(held.sort()).toEqual([...new Set(batch.map(({ stream, seq }) => `${stream}/${seq}`))].sort());
      }),
    );
  });

  it('are sorted by stream and block, and so are their readings', () => {
    fc.assert(
      fc.property(identities, (batch) => {
        const { blocks, order } = offer(batch);
        const keys = blocks.map(({ streamKey, block }) => streamKey * 1_000 + block);
        expect(keys).toEqual([...new Set(keys)].sort((a, b) => a - b));
        for (const { streamKey, block, from, to } of blocks) {
          const seqs = order.slice(from, to).map((ordinal) => batch[ordinal]);
          expect(
            seqs.every((one) => one?.stream === streamKey && Math.floor(one.seq / sequenceBlockSize) === block),
          ).toBe(true);
        }
      }),
    );
  });
});
