/** JSON as it is written, so that it can hold what a JavaScript value cannot: duplicate keys, `-0`, `1e400`, broken literals. */
export type JsonTree = null | boolean | number | string | Verbatim | FreshSeq | Members | readonly JsonTree[];

/** Text that is written without change. */
export class Verbatim {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A sequence number that was not sent before: `offset` above the first free number at the time of sending. */
export class FreshSeq {
  readonly offset: number;

  constructor(offset: number) {
    this.offset = offset;
  }
}

/** Members of an object, in order; a name may occur twice. */
export class Members {
  readonly entries: readonly (readonly [string, JsonTree])[];

  constructor(entries: readonly (readonly [string, JsonTree])[]) {
    this.entries = entries;
  }
}

/** @param firstFreeSeq where {@link FreshSeq} counts from */
export function jsonText(tree: JsonTree, firstFreeSeq: number): string {
  if (tree instanceof Verbatim) return tree.text;
  if (tree instanceof FreshSeq) return String(firstFreeSeq + tree.offset);
  if (tree instanceof Members) {
    const members = tree.entries.map(([name, value]) => `${JSON.stringify(name)}:${jsonText(value, firstFreeSeq)}`);
    return `{${members.join(',')}}`;
  }
  if (Array.isArray(tree)) return `[${tree.map((item) => jsonText(item, firstFreeSeq)).join(',')}]`;
  return JSON.stringify(tree);
}
