import Type from 'typebox';
import { type Parsed, accepted, refused } from './validation-issue.ts';

/**
 * Attributes of every message between services. A message states a fact in the past tense; its attributes are named as in CloudEvents 1.0
 * where that has them (`id`, `type`; `time` is `occurredAt` here). The W3C `traceparent` is an AMQP header.
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
 * Parses the part that all versions of a message have in common: it is JSON, and of a major that this release reads.
 * @param supported the version that this release writes, `1.0`
 * @returns the value, or `malformed-json` or `unsupported-version` (another major); a missing version is left to the schema to refuse
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

/** AMQP header with the id of the envelope that first carried a reading; log lines about the reading have it as `correlationId`. */
export const correlationHeader = 'x-fleetwire-correlation-id';

/** AMQP header of an envelope that carries dead letters again: the replay's id. Reconciliation does not count these readings as received anew. */
export const replayHeader = 'x-fleetwire-replay';

/** The major of `"1.4"`; NaN for anything else. */
function majorOf(schemaVersion: unknown): number {
  return typeof schemaVersion === 'string' && /^\d+\.\d+$/.test(schemaVersion)
    ? Number.parseInt(schemaVersion, 10)
    : Number.NaN;
}
