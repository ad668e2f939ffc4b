/** How answers name a stream: nothing for the socket's own device and epoch. */
interface StreamName {
  readonly deviceId?: string | undefined;
  readonly epoch?: string | undefined;
}

interface Entry {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  /** Times sent, less times nacked. */
  open: number;
  isCovered: boolean;
}

/** What one socket sent with a seq, and how the server answered it: an independent reading of docs/device-protocol.md. */
export class SocketJournal {
  readonly #own: { readonly deviceId: string; readonly epoch: string };
  readonly #streams = new Map<string, Map<number, Entry>>();

  constructor(own: { readonly deviceId: string; readonly epoch: string }) {
    this.#own = own;
  }

  /** Notes the readings of a text frame whose numbers can be read. */
  sent(text: string): void {
    const frame = parsed(text);
    if (frame === undefined || frame['type'] === 'ping') return;
    const { seq, readings, deviceId, device_id, epoch } = frame;
    if (!Number.isSafeInteger(seq) || (seq as number) < 0) return;
    if (![deviceId, device_id, epoch].every((each) => each === undefined || typeof each === 'string')) return;
    const name = { deviceId: firstText(deviceId, device_id), epoch: firstText(epoch) };
    const stream = this.#streamOf(name);
    const { deviceId: device, epoch: boot } = { ...this.#own, ...given(name) };
    const count = readings === undefined ? 1 : Array.isArray(readings) ? readings.length : 0;
    for (let number = seq as number; number < (seq as number) + count && Number.isSafeInteger(number); number += 1) {
      const entry = stream.get(number) ?? { deviceId: device, epoch: boot, seq: number, open: 0, isCovered: false };
      stream.set(number, entry);
      entry.open += 1;
      entry.isCovered = false;
    }
  }

  acked(upTo: number, name: StreamName): void {
    for (const entry of this.#streamOf(name).values()) if (entry.seq <= upTo) entry.isCovered = true;
  }

  nacked(seq: number, count: number, name: StreamName): void {
    // Over the readings, not over the numbers: a nack may name a wide range, of which few were sent.
    for (const entry of this.#streamOf(name).values()) if (entry.seq >= seq && entry.seq < seq + count) entry.open -= 1;
  }

  /** Readings that were neither acknowledged nor nacked. */
  get unanswered(): readonly Entry[] {
    return this.#entries().filter(({ open, isCovered }) => open > 0 && !isCovered);
  }

  /** Takes out the readings that the server has acknowledged; forgets all others. */
  takeAcked(): readonly Entry[] {
    const acked = this.#entries().filter(({ open, isCovered }) => open > 0 && isCovered);
    this.#streams.clear();
    return acked;
  }

  #entries(): Entry[] {
    return [...this.#streams.values()].flatMap((stream) => [...stream.values()]);
  }

  #streamOf(name: StreamName): Map<number, Entry> {
    const { deviceId, epoch } = { ...this.#own, ...given(name) };
    const key = JSON.stringify([deviceId, epoch]);
    const stream = this.#streams.get(key) ?? new Map<number, Entry>();
    this.#streams.set(key, stream);
    return stream;
  }
}

function given({ deviceId, epoch }: StreamName): { deviceId?: string; epoch?: string } {
  return { ...(deviceId === undefined ? {} : { deviceId }), ...(epoch === undefined ? {} : { epoch }) };
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function firstText(...values: readonly unknown[]): string | undefined {
  return values.find((value) => typeof value === 'string');
}
