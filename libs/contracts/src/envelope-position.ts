/**
 * Where an envelope stands: each edge process numbers its envelopes 1, 2, 3 … without a hole. It is in an AMQP header, not in the content,
 * so that the fate of an envelope is known by its position also where its content cannot be parsed or must not be.
 */
export interface EnvelopePosition {
  /** One edge process; after a restart it is another. */
  readonly instanceId: string;
  readonly number: number;
  /** The half of a poison message that was split: which half, at each split (`0`, `10`); empty for a whole envelope. */
  readonly part: string;
}

/** AMQP header of an envelope. Copies in retry queues and halves of a split message keep it; replays have none. */
export const positionHeader = 'x-fleetwire-position';

const form = /^([\w-]{1,64})\/([1-9]\d{0,15})(?:\/([01]{1,256}))?$/;

export function encodePosition({ instanceId, number, part }: EnvelopePosition): string {
  return part === '' ? `${instanceId}/${number}` : `${instanceId}/${number}/${part}`;
}

/** @returns undefined for an envelope of a release that did not number them, and for anything else that is no position */
export function positionOf(headers: Readonly<Record<string, unknown>>): EnvelopePosition | undefined {
  const [, instanceId, digits, part = ''] = form.exec(String(headers[positionHeader])) ?? [];
  const number = Number(digits);
  return instanceId === undefined || !Number.isSafeInteger(number) ? undefined : { instanceId, number, part };
}

/** The headers of one half of a split message. */
export function headersOfHalf(headers: Readonly<Record<string, unknown>>, half: 0 | 1): Record<string, unknown> {
  const position = positionOf(headers);
  return position === undefined
    ? { ...headers }
    : { ...headers, [positionHeader]: encodePosition({ ...position, part: `${position.part}${half}` }) };
}
