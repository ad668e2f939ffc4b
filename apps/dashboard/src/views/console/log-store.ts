import { signal } from '@preact/signals';
import type { LogLine } from './log-lines.ts';

export type KeptLine = LogLine & { readonly number: number };

/** Lines that are kept; the oldest go first. */
export const keptMax = 10_000;
/** Lines beyond `keptMax` that may stand until they are removed together. */
const slack = 1_000;
const writeMs = 250;

/** The log of a page: the newest lines, and how many of each kind came in the last seconds. The page draws at most four times a second. */
export class LogStore {
  /** Grows when lines have come. */
  readonly version = signal(0);
  #lines: KeptLine[] = [];
  #count = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Oldest first. */
  get lines(): readonly KeptLine[] {
    return this.#lines.length > keptMax ? this.#lines.slice(-keptMax) : this.#lines;
  }

  /** Of all lines that ever came. */
  get count(): number {
    return this.#count;
  }

  add(lines: readonly LogLine[]): void {
    for (const line of lines) this.#lines.push({ ...line, number: this.#count++ });
    if (this.#lines.length > keptMax + slack) this.#lines = this.#lines.slice(-keptMax);
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.version.value += 1;
    }, writeMs);
  }

  clear(): void {
    this.#lines = [];
    this.version.value += 1;
  }

  /** Lines a second of a kind, in the last `seconds`. */
  rate(kind: LogLine['kind'], now: number, seconds = 10): number {
    let found = 0;
    for (let index = this.#lines.length - 1; index >= 0 && this.#lines[index]!.at > now - seconds * 1_000; index -= 1)
      if (this.#lines[index]!.kind === kind) found += 1;
    return found / seconds;
  }
}

/** Lines as NDJSON, in the order in which they came. */
export function ndjsonOf(lines: readonly LogLine[]): string {
  return lines
    .map(({ at, direction, body }) => `${JSON.stringify({ at: new Date(at).toISOString(), direction, frame: body })}\n`)
    .join('');
}
