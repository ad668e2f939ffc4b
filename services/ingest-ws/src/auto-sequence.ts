import { randomUUID } from 'node:crypto';

/** Numbers for readings that carry none: `seq` runs within an epoch of this process, so no two readings ever share an identity. */
export class AutoSequence {
  readonly #devicesMax: number;
  #epoch = newEpoch();
  readonly #next = new Map<string, number>();

  constructor({ devicesMax }: { devicesMax: number }) {
    this.#devicesMax = devicesMax;
  }

  /** Takes `count` consecutive numbers. */
  take(deviceId: string, count: number): { epoch: string; seq: number } {
    if (this.#next.size >= this.#devicesMax && !this.#next.has(deviceId)) {
      // Forgetting counters would repeat numbers; a new epoch starts them all again.
      this.#next.clear();
      this.#epoch = newEpoch();
    }
    const seq = this.#next.get(deviceId) ?? 1;
    this.#next.set(deviceId, seq + count);
    return { epoch: this.#epoch, seq };
  }
}

function newEpoch(): string {
  return `auto-${randomUUID()}`;
}
