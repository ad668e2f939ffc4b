const barCharacters = 24;
const redrawMs = 200;

/** A line on standard error that shows how far a transfer is; nothing where standard error is no terminal. */
export class Progress {
  readonly #startedAt = Date.now();
  #drawnAt = 0;

  /** @param share from 0 to 1; undefined: not known */
  show(share: number | undefined, text: string): void {
    if (!process.stderr.isTTY || Date.now() - this.#drawnAt < redrawMs) return;
    this.#drawnAt = Date.now();
    process.stderr.write(`\r\u{1b}[2K${progressLine(share, text, this.#drawnAt - this.#startedAt)}`);
  }

  clear(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u{1b}[2K');
  }
}

/** `[######----] 42%  1,200 readings  in 3 s, 4 s left` */
function progressLine(share: number | undefined, text: string, elapsedMs: number): string {
  const elapsed = `in ${Math.round(elapsedMs / 1_000)} s`;
  if (share === undefined) return `${text}  ${elapsed}`;
  // An estimate may be too small: only the end is 100 %.
  const known = Math.min(share, 0.99);
  const filled = Math.round(known * barCharacters);
  const left = known > 0.02 ? `, about ${Math.ceil((elapsedMs * (1 / known - 1)) / 1_000)} s left` : '';
  const bar = `[${'#'.repeat(filled)}${'-'.repeat(barCharacters - filled)}]`;
  return `${bar} ${Math.floor(known * 100)}%  ${text}  ${elapsed}${left}`;
}

export function countText(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
