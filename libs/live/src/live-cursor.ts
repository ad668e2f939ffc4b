import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Range } from '@fleetwire/contracts/range-set';
import { parserOf } from '@fleetwire/contracts/schema-issue';
import Type from 'typebox';
import type { WatchPosition } from './watch.ts';

/** A position as clients keep it, of one filter and one database. */
export interface CursorContent {
  readonly position: WatchPosition;
  readonly installation: string | undefined;
  /** Everything that arrived before it was sent; epoch milliseconds. */
  readonly completeAt: number | undefined;
}

const Count = Type.Integer({ minimum: 0 });
const parseContent = parserOf(
  Type.Object({
    v: Type.Literal(1),
    f: Type.String(),
    i: Type.Optional(Type.String()),
    t: Type.Optional(Count),
    k: Count,
    h: Type.Record(Type.String(), Count),
    g: Type.Array(Type.Tuple([Type.String(), Count, Count]), { maxItems: 1_000 }),
  }),
);

const signatureBytes = 16;
const gapsMax = 50;
/** Cursors are shared by subscriptions for so long: the time in them is whole minutes. */
const minuteMs = 60_000;
const rememberedMax = 64;

/** Writes and reads signed cursors. Every instance with the same secret accepts them. */
export class LiveCursors {
  readonly #key: Buffer;
  /** Subscriptions with equal filters and positions share a cursor. */
  readonly #written = new Map<string, string>();

  constructor(secret: string) {
    this.#key = Buffer.from(hkdfSync('sha256', secret, '', 'fleetwire live cursors', 32));
  }

  /** @returns the cursor, and whether readings that were sent can come again after a resume: too many gaps for a cursor are merged */
  write(
    { position, installation, completeAt }: CursorContent,
    filterKey: string,
  ): { cursor: string; mayRepeat: boolean } {
    const { gaps, mayRepeat } = bounded(position.gaps);
    const text = JSON.stringify({
      v: 1,
      f: hashOf(filterKey),
      i: installation,
      t: completeAt === undefined ? undefined : Math.floor(completeAt / minuteMs),
      k: position.edgesKnown,
      h: position.hi,
      g: gaps,
    });
    let cursor = this.#written.get(text);
    if (cursor === undefined) {
      const content = Buffer.from(text).toString('base64url');
      cursor = `${content}.${this.#sign(content).toString('base64url')}`;
      if (this.#written.size >= rememberedMax) this.#written.clear();
      this.#written.set(text, cursor);
    }
    return { cursor, mayRepeat };
  }

  read(cursor: string, filterKey: string): CursorContent | 'cursor-invalid' | 'cursor-foreign' {
    const [content = '', signature = '', ...rest] = cursor.split('.');
    const given = Buffer.from(signature, 'base64url');
    if (rest.length > 0 || given.length !== signatureBytes || !timingSafeEqual(given, this.#sign(content)))
      return 'cursor-invalid';
    const parsed = parseContent(JSON.parse(Buffer.from(content, 'base64url').toString('utf8')));
    if (!parsed.ok) return 'cursor-invalid';
    const { f, i, t, k, h, g } = parsed.value;
    if (f !== hashOf(filterKey)) return 'cursor-foreign';
    const gaps: Record<string, Range[]> = {};
    for (const [edge, first, last] of g) (gaps[edge] ??= []).push([first, last]);
    const completeAt = t === undefined ? undefined : t * minuteMs;
    return { installation: i, completeAt, position: { hi: h, gaps, edgesKnown: k } };
  }

  #sign(content: string): Buffer {
    return createHmac('sha256', this.#key).update(content).digest().subarray(0, signatureBytes);
  }
}

function hashOf(filterKey: string): string {
  return createHash('sha256').update(filterKey).digest('base64url').slice(0, 16);
}

/** With too many gaps those of an edge become one, from the first to the last. */
function bounded(gaps: WatchPosition['gaps']): { gaps: [string, number, number][]; mayRepeat: boolean } {
  const all = Object.entries(gaps);
  const isMerged = all.reduce((sum, [, ranges]) => sum + ranges.length, 0) > gapsMax;
  return {
    mayRepeat: isMerged,
    gaps: all.flatMap(([edge, ranges]) =>
      isMerged
        ? [[edge, ranges[0]![0], ranges.at(-1)![1]] as [string, number, number]]
        : ranges.map(([first, last]) => [edge, first, last] as [string, number, number]),
    ),
  };
}
