import { randomUUID } from 'node:crypto';
import type { EdgePositions } from '@fleetwire/contracts/edge-report';
import type { EnvelopePosition } from '@fleetwire/contracts/envelope-position';

/** Beyond these, a number is not reported: it counts as in flight until the edge has ended. */
const unreportedRangesMax = 10_000;

type Ranges = [first: number, last: number][];

/**
 * Numbers the envelopes of this process: 1, 2, 3 … without a hole. What became of a number that was not confirmed is told in the edge reports:
 * else readers of positions would wait for it.
 */
export class EnvelopeNumbers {
  /** A restarted process is another edge: its numbers start again. */
  readonly instanceId = randomUUID();
  #last = 0;
  #unsent: Ranges = [];
  #unconfirmed: Ranges = [];

  next(): EnvelopePosition {
    return { instanceId: this.instanceId, number: (this.#last += 1), part: '' };
  }

  /** @param isUncertain it was published without an answer: the broker may have it */
  notConfirmed({ number }: EnvelopePosition, isUncertain: boolean): void {
    add(isUncertain ? this.#unconfirmed : this.#unsent, number);
  }

  /**
   * For the next edge report, once.
   * @param numberedBefore every reading that arrived before this time has been nacked, or is in an envelope that has its number
   */
  drain(numberedBefore: number): Omit<EdgePositions, 'intervalMs'> {
    const positions = { last: this.#last, numberedBefore, unsent: this.#unsent, unconfirmed: this.#unconfirmed };
    this.#unsent = [];
    this.#unconfirmed = [];
    return positions;
  }
}

/** Numbers come nearly in order, each once: the place is near the end. */
function add(ranges: Ranges, number: number): void {
  let index = ranges.length;
  while (index > 0 && ranges[index - 1]![0] > number) index -= 1;
  const [before, after] = [ranges[index - 1], ranges[index]];
  if (before?.[1] === number - 1) {
    before[1] = number;
    if (after?.[0] === number + 1) {
      before[1] = after[1];
      ranges.splice(index, 1);
    }
  } else if (after?.[0] === number + 1) after[0] = number;
  else if (ranges.length < unreportedRangesMax) ranges.splice(index, 0, [number, number]);
}
