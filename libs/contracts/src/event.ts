import Type from 'typebox';

/**
 * What every message between our services carries beside its data: a past-tense fact, with attributes named after CloudEvents 1.0
 * where it has them (`id`, `type`, `time` as `occurredAt`). The W3C `traceparent` travels in the AMQP headers.
 */
export const eventAttributes = {
  id: Type.String({ minLength: 1, maxLength: 64, description: 'Unique id of the event' }),
  schemaVersion: Type.String({
    pattern: '^\\d+\\.\\d+$',
    description: 'major.minor; a newer minor is accepted, an unknown major is not',
  }),
  occurredAt: Type.Integer({ description: 'Epoch milliseconds' }),
};

/** The major of `"1.4"`; NaN where there is none. */
export function majorOf(schemaVersion: unknown): number {
  return typeof schemaVersion === 'string' && /^\d+\.\d+$/.test(schemaVersion)
    ? Number.parseInt(schemaVersion, 10)
    : Number.NaN;
}
