/** Bounds of a retry delay that doubles with each failure in a row, in milliseconds. */
export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Between connection attempts of a device: the reconnect rule of docs/device-protocol.md. */
export const deviceReconnectBackoff: Backoff = { baseMs: 1_000, capMs: 60_000 };

/**
 * Exponential backoff with full jitter: a delay anywhere between 0 and a ceiling that doubles with each failure, so that
 * clients which lost the same server at the same moment do not return at the same moment.
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 *
 * @param failures in a row, at least 1
 * @param random from 0 to 1
 */
export function backoffMs({ baseMs, capMs }: Backoff, failures: number, random: number = Math.random()): number {
  return random * Math.min(capMs, baseMs * 2 ** (failures - 1));
}
