export interface BackoffOptions {
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
}

/** What the device protocol asks of clients: full jitter over 1 s, doubling up to 60 s. */
export const reconnectBackoff: BackoffOptions = { delayMinMs: 1_000, delayMaxMs: 60_000 };

/**
 * Full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015): anywhere between nothing and the doubled bound, so that a
 * fleet cut off at one moment does not come back at one moment.
 * @param failures in a row, at least 1
 * @param random between 0 and 1
 */
export function backoffMs({ delayMinMs, delayMaxMs }: BackoffOptions, failures: number, random: number): number {
  return random * Math.min(delayMaxMs, delayMinMs * 2 ** (failures - 1));
}
