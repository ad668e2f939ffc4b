export interface WindowBounds {
  readonly messagesInFlightMax: number;
  /** Of content. Compared before a message is admitted, so that one message of any size fits an empty window. */
  readonly bytesInFlightMax: number;
}

/** Counts the messages that the broker has not confirmed, and decides whether another one may be published. No I/O, no timer. */
export class PublishWindow {
  readonly #bounds: WindowBounds;
  #messages = 0;
  #bytes = 0;
  #isChannelReady = false;

  constructor(bounds: WindowBounds) {
    this.#bounds = bounds;
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isWritable(): boolean {
    const { messagesInFlightMax, bytesInFlightMax } = this.#bounds;
    return this.#isChannelReady && this.#messages < messagesInFlightMax && this.#bytes < bytesInFlightMax;
  }

  /** Whether there is a channel whose write buffer takes more, on a connection that the broker reads. */
  setChannelReady(isReady: boolean): void {
    this.#isChannelReady = isReady;
  }

  admit(bytes: number): void {
    this.#messages += 1;
    this.#bytes += bytes;
  }

  /** A message was confirmed, refused, returned, or lost with its channel. */
  release(bytes: number): void {
    this.#messages -= 1;
    this.#bytes -= bytes;
  }
}
