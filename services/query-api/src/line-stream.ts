import { once } from 'node:events';
import type { Response } from 'express';
import type { AnswerReservation } from './answer-budget.ts';

/** A reader that takes nothing for this long is disconnected: its stream holds a connection to the database. */
const stalledAfterMs = 30_000;
const streamMsMax = 15 * 60_000;

/** An answer that is written while it is read. */
export abstract class StreamedAnswer {
  /** Ends cleanly only when it is complete. @throws {Problem} before the first byte */
  abstract send(response: Response, reservation: AnswerReservation): Promise<void>;
}

/** Lines of JSON. */
export class LineStream extends StreamedAnswer {
  readonly #batches: AsyncGenerator<object[], void>;
  readonly #abort: (reason: Error) => void;

  /** @param abort ends the reading of `batches` at any time */
  constructor(batches: AsyncGenerator<object[], void>, abort: (reason: Error) => void) {
    super();
    this.#batches = batches;
    this.#abort = abort;
  }

  /** Writes no faster than the client reads. A stream that fails, or finds no room in the budget, is cut, so that it never looks complete. */
  override async send(response: Response, { reserve, release }: AnswerReservation): Promise<void> {
    const stop = (): void => void (response.writableEnded || this.#abort(new Error('the client has gone')));
    response.once('close', stop);
    const deadline = setTimeout(() => response.destroy(), streamMsMax);
    try {
      for await (const batch of this.#batches) {
        const text = batch.map((line) => `${JSON.stringify(line)}\n`).join('');
        reserve(Buffer.byteLength(text));
        if (!response.write(text)) await drained(response);
        release();
      }
      response.end();
    } catch (error) {
      response.destroy();
      this.#abort(error as Error);
    } finally {
      clearTimeout(deadline);
      release();
    }
  }
}

async function drained(response: Response): Promise<void> {
  const signal = AbortSignal.timeout(stalledAfterMs);
  const closed = new AbortController();
  const onClose = (): void => closed.abort();
  response.once('close', onClose);
  try {
    if (response.destroyed) throw new Error('the client has gone');
    await once(response, 'drain', { signal: AbortSignal.any([signal, closed.signal]) });
  } finally {
    response.off('close', onClose);
  }
}
