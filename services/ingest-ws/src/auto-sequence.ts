import { randomUUID } from 'node:crypto';

/** Numbers readings that carry no seq. The epoch is unique to this process, so two readings never share an identity. */
export class AutoSequence {
  readonly #devicesMax: number;
  #epoch = newEpoch();
  readonly #next = new Map<string, number>();

  constructor({ devicesMax }: { devicesMax: number }) {
    this.#devicesMax = devicesMax;
  }

  /** Assigns `count` consecutive numbers; `seq` is the first. */
  assign(deviceId: string, count: number): { epoch: string; seq: number } {
    if (this.#next.size >= this.#devicesMax && !this.#next.has(deviceId)) {
      // Dropping counters alone would repeat numbers; with a new epoch all of them start again.
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
