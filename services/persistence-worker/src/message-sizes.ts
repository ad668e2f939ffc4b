import type { MessageSize } from '@fleetwire/contracts/worker-state';

/** After this many messages, older ones count half. */
const messagesMax = 10_000;

/**
 * How the bytes of a queued message depend on its readings: a line fitted to the messages handled most recently (least squares). A mean per
 * message would not do, because load changes the readings of a message a hundredfold, and edge reports hold none.
 */
export class MessageSizes {
  #messages = 0;
  #readings = 0;
  #bytes = 0;
  #readingsSquared = 0;
  #readingsTimesBytes = 0;

  /** @param readings 0 for an edge report */
  add(readings: number, bytes: number): void {
    if (this.#messages >= messagesMax) this.#halve();
    this.#messages += 1;
    this.#readings += readings;
    this.#bytes += bytes;
    this.#readingsSquared += readings * readings;
    this.#readingsTimesBytes += readings * bytes;
  }

  /** @returns undefined before the first reading */
  estimate(): MessageSize | undefined {
    if (this.#readings === 0) return undefined;
    const spread = this.#messages * this.#readingsSquared - this.#readings * this.#readings;
    const bytesPerReading = (this.#messages * this.#readingsTimesBytes - this.#readings * this.#bytes) / spread;
    const bytesPerMessage = (this.#bytes - bytesPerReading * this.#readings) / this.#messages;
    if (spread > 0 && bytesPerReading > 0 && bytesPerMessage >= 0) return { bytesPerMessage, bytesPerReading };
    return { bytesPerMessage: 0, bytesPerReading: this.#bytes / this.#readings };
  }

  #halve(): void {
    this.#messages /= 2;
    this.#readings /= 2;
    this.#bytes /= 2;
    this.#readingsSquared /= 2;
    this.#readingsTimesBytes /= 2;
  }
}
