/** AMQP message headers, as amqplib reads and writes them. */
export type Headers = Readonly<Record<string, unknown>>;

const ATTEMPT_HEADER = 'x-fleetwire-attempt';

/** Set on a message that may be killing its worker: it is handled alone from its first delivery. */
export const isolatedHeader = 'x-fleetwire-isolated';

const OUR_OWN = /^x-fleetwire-/;
const BROKERS_OWN = /^x-(death|first-death-|last-death-|delivery-count$|acquired-count$)/;

/**
 * A message's headers without what the broker wrote about its earlier ways. Carried along, `x-death` would grow with
 * every round of the ladder, and RabbitMQ takes it for a cycle to break. Source: RabbitMQ, "Dead Letter Exchanges".
 */
export function stripDeathHeaders(headers: Headers): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !BROKERS_OWN.test(name)));
}

/** How often this message has been sent up the retry ladder; 0 at first. */
export function attemptOf(headers: Headers): number {
  const attempt = headers[ATTEMPT_HEADER];
  return typeof attempt === 'number' && Number.isSafeInteger(attempt) && attempt > 0 ? attempt : 0;
}

/** The headers of a copy for the retry ladder: the broker's own stripped, our attempt raised by one. */
export function headersOfNextAttempt(headers: Headers): Record<string, unknown> {
  return { ...stripDeathHeaders(headers), [ATTEMPT_HEADER]: attemptOf(headers) + 1 };
}

/** The headers of a message that begins anew: who sent it stays, what happened to it on its way does not. */
export function headersOfFreshStart(headers: Headers): Record<string, unknown> {
  return Object.fromEntries(Object.entries(stripDeathHeaders(headers)).filter(([name]) => !OUR_OWN.test(name)));
}
