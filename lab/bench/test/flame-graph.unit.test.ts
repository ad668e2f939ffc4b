import { describe, expect, it } from 'vitest';
import { flameGraph } from '../flame-graph.ts';

const frame = (id: number, functionName: string, url: string, children: number[] = []) => ({
  id,
  callFrame: { functionName, url },
  children,
});

describe('a flame graph', () => {
  const svg = flameGraph(
    {
      nodes: [
        frame(1, '(root)', '', [2, 3]),
        frame(2, '(idle)', ''),
        frame(3, 'serve<T>', 'file:///fleetwire/services/x.ts', [4, 5]),
        frame(4, 'parse', 'file:///fleetwire/node_modules/p/index.js'),
        frame(5, 'write', 'node:net'),
      ],
      samples: [2, 4, 4, 4, 5, 2],
      timeDeltas: [500, 100, 100, 100, 100, 500],
    },
    'edge & more',
  );

  it('counts what was busy, each frame with what it called', () => {
    expect(svg.match(/<title>[^<]+/g)).toEqual([
      '<title>all, 100.0 %',
      '<title>serve&lt;T&gt;, 100.0 %',
      '<title>parse, 75.0 %',
      '<title>write, 25.0 %',
    ]);
  });

  it('shows shares as widths, and where code comes from as colours', () => {
    const widths = [...svg.matchAll(/<rect x="(\S+)" y="\d+" width="(\S+)" height="16" fill="(\S+)"/g)];
    expect(widths.map(([, x, width, colour]) => [x, width, colour])).toEqual([
      ['0.0', '1199.7', '#c9c9c9'],
      ['0.0', '1199.7', '#e8793a'],
      ['0.0', '899.7', '#e8b93a'],
      ['900.0', '299.7', '#8fb8de'],
    ]);
    expect(svg).toContain('edge &amp; more');
  });
});
