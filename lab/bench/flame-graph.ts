/** What V8 writes with `--cpu-prof` (Chrome DevTools Protocol, `Profiler.Profile`). */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  /** Ids of nodes, one a sample. */
  readonly samples: readonly number[];
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[];
}

interface Frame {
  readonly name: string;
  readonly origin: Origin;
  /** Microseconds in it and in what it called. */
  total: number;
  readonly callees: Map<string, Frame>;
}

type Origin = keyof typeof colours;

const colours = { ours: '#e8793a', packages: '#e8b93a', node: '#8fb8de', native: '#c9c9c9' } as const;
const widthPx = 1_200;
const rowPx = 17;
const captionPx = 22;
const characterPx = 6.6;
/** A frame that is narrower is left out, with all that it called. */
const narrowestPx = 2;
/** Deeper are only chains of modules being loaded. */
const levelsMax = 32;

/** A flame graph of where a process spent its time, idling left out: callers below, callees above, width is time. @returns SVG */
export function flameGraph(profile: CpuProfile, title: string): string {
  const root = frameTree(profile);
  const rows: string[] = [];
  let depth = 0;
  const draw = (frame: Frame, x: number, level: number): void => {
    const width = (frame.total / root.total) * widthPx;
    if (width < narrowestPx || level > levelsMax) return;
    depth = Math.max(depth, level);
    rows.push(rectangle(frame, { x, width, level, share: frame.total / root.total }));
    let from = x;
    for (const callee of [...frame.callees.values()].sort((a, b) => b.total - a.total)) {
      draw(callee, from, level + 1);
      from += (callee.total / root.total) * widthPx;
    }
  };
  draw(root, 0, 0);
  const height = captionPx + (depth + 1) * rowPx;
  const legend = Object.entries(colours).map(([name, colour]) => `<tspan fill="${colour}">■</tspan> ${name}`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${widthPx}" height="${height}" viewBox="0 0 ${widthPx} ${height}" font-family="monospace" font-size="11">`,
    `<rect width="${widthPx}" height="${height}" fill="white"/>`,
    `<text x="4" y="15">${escaped(title)}, ${(root.total / 1e6).toFixed(1)} s of CPU   ${legend.join('  ')}</text>`,
    `<g transform="translate(0 ${height}) scale(1 -1)">`,
    ...rows,
    '</g>',
    '</svg>',
    '',
  ].join('\n');
}

function frameTree({ nodes, samples, timeDeltas }: CpuProfile): Frame {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const callerOf = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const root: Frame = { name: 'all', origin: 'native', total: 0, callees: new Map() };
  for (const [index, sample] of samples.entries()) {
    const stack = [];
    for (let id: number | undefined = sample; id !== undefined; id = callerOf.get(id)) {
      const node = byId.get(id);
      if (node !== undefined) stack.push(node.callFrame);
    }
    // The last one is V8's own root.
    const [innermost, ...callers] = stack.slice(0, -1);
    if (innermost === undefined || innermost.functionName === '(idle)') continue;
    const microseconds = timeDeltas[index] ?? 0;
    root.total += microseconds;
    let frame = root;
    for (const { functionName, url } of [...callers.reverse(), innermost]) {
      const key = `${functionName} ${url}`;
      const callee: Frame = frame.callees.get(key) ?? {
        name: functionName || '(anonymous)',
        origin: originOf(url),
        total: 0,
        callees: new Map(),
      };
      frame.callees.set(key, callee);
      callee.total += microseconds;
      frame = callee;
    }
  }
  return root;
}

function originOf(url: string): Origin {
  if (url === '') return 'native';
  if (url.startsWith('node:')) return 'node';
  return url.includes('/node_modules/') ? 'packages' : 'ours';
}

function rectangle(
  { name, origin }: Frame,
  { x, width, level, share }: { x: number; width: number; level: number; share: number },
): string {
  const y = level * rowPx;
  const label = name.slice(0, Math.max(0, Math.floor((width - 4) / characterPx)));
  const text =
    label.length < Math.min(3, name.length)
      ? ''
      : `<text x="${(x + 2).toFixed(1)}" y="${-(y + 4)}" transform="scale(1 -1)">${escaped(label)}</text>`;
  return (
    `<g><title>${escaped(name)}, ${(share * 100).toFixed(1)} %</title>` +
    `<rect x="${x.toFixed(1)}" y="${y}" width="${(width - 0.3).toFixed(1)}" height="${rowPx - 1}" fill="${colours[origin]}"/>${text}</g>`
  );
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
