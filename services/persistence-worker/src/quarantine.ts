/** How to treat a message that may be killing whoever handles it. */
export type Handling = 'in-company' | 'alone' | 'in-halves' | 'dead-letter';

/** Deliveries without a verdict after which a message is a suspect (architecture: "redelivered 3 times"). */
export const suspectDeliveries = 3;

/**
 * Decides by what the broker counted. A suspect is handled alone, so that it condemns nobody; one that comes back even then is halved
 * until the single reading that does the harm stands by itself, and only that is dead-lettered.
 *
 * @param isIsolated the message is a half of a suspect: it need not prove its harm three times
 */
export function handlingOf({
  deliveryCount,
  readings,
  isIsolated,
}: {
  deliveryCount: number;
  readings: number;
  isIsolated: boolean;
}): Handling {
  const aloneFrom = isIsolated ? 0 : suspectDeliveries;
  if (deliveryCount < aloneFrom) return 'in-company';
  if (deliveryCount === aloneFrom) return 'alone';
  return readings > 1 ? 'in-halves' : 'dead-letter';
}
