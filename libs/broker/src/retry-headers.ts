/** AMQP message headers, as amqplib reads and writes them. */
export type Headers = Readonly<Record<string, unknown>>;

const ATTEMPT_HEADER = 'x-fleetwire-attempt';

/** Set on a suspected poison message: it is handled alone from its first delivery. */
export const isolatedHeader = 'x-fleetwire-isolated';

const fleetwireHeader = /^x-fleetwire-/;
const brokerHeader = /^x-(death|first-death-|last-death-|delivery-count$|acquired-count$)/;

/**
 * A message's headers without those that the broker added about earlier deliveries. A copied `x-death` would grow with every retry,
 * and RabbitMQ would drop the message as a dead-letter cycle. Source: RabbitMQ, "Dead Letter Exchanges".
 */
export function withoutBrokerHeaders(headers: Headers): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !brokerHeader.test(name)));
}

/** How many times this message has been sent to a retry queue; 0 at first. */
export function attemptOf(headers: Headers): number {
  const attempt = headers[ATTEMPT_HEADER];
  return typeof attempt === 'number' && Number.isSafeInteger(attempt) && attempt > 0 ? attempt : 0;
}

/** The headers of a copy for a retry queue: without the broker's, the attempt increased by one. */
export function headersOfNextAttempt(headers: Headers): Record<string, unknown> {
  return { ...withoutBrokerHeaders(headers), [ATTEMPT_HEADER]: attemptOf(headers) + 1 };
}

/** The headers of a message that starts again: those of its sender stay, its delivery history does not. */
export function senderHeaders(headers: Headers): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(withoutBrokerHeaders(headers)).filter(([name]) => !fleetwireHeader.test(name)),
  );
}
