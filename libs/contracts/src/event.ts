import Type from 'typebox';
import { type Parsed, accepted, refused } from './validation-issue.ts';

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

/**
 * Parses a message as far as every version of it can be: it is JSON, and of a major that this release reads.
 * @param supported the version that this release writes, `1.0`
 * @returns `malformed-json`, or `unsupported-version` where the major is another; a message without a version is left to its schema
 */
export function decodeEvent(content: Buffer, supported: string): Parsed<unknown> {
  let value: unknown;
  try {
    value = JSON.parse(content.toString('utf8'));
  } catch (error) {
    return refused('malformed-json', '', `not JSON: ${(error as Error).message}`);
  }
  const version = (value as { schemaVersion?: unknown } | null)?.schemaVersion;
  const [major, expected] = [majorOf(version), majorOf(supported)];
  if (Number.isNaN(major) || major === expected) return accepted(value);
  return refused('unsupported-version', 'schemaVersion', `is ${String(version)}; this release reads ${expected}.x`);
}

/** AMQP header with the id of the envelope that a reading first travelled in; every line of the log about it carries it as `correlationId`. */
export const correlationHeader = 'x-fleetwire-correlation-id';

/** AMQP header of an envelope that carries dead letters again: the replay's id. Reconciliation does not count these readings as received anew. */
export const replayHeader = 'x-fleetwire-replay';

/** The major of `"1.4"`; NaN where there is none. */
function majorOf(schemaVersion: unknown): number {
  return typeof schemaVersion === 'string' && /^\d+\.\d+$/.test(schemaVersion)
    ? Number.parseInt(schemaVersion, 10)
    : Number.NaN;
}
