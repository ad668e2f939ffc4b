import Type, { type Static } from 'typebox';
import { decodeEvent, eventAttributes } from './event.ts';
import { DeviceId } from './identifiers.ts';
import { presenceStatuses } from './presence.ts';
import { parserOf } from './schema-issue.ts';
import type { Parsed } from './validation-issue.ts';

/** Type of the message, and its routing key on the exchange `events`. */
export const presenceChangedType = 'presence.changed';
export const presenceEventSchemaVersion = '1.0';

/** Changes in one message at most. */
export const presenceChangesPerMessageMax = 500;

const PresenceChange = Type.Object({
  deviceId: DeviceId,
  status: Type.Enum([...presenceStatuses]),
  reason: Type.String({ minLength: 1, maxLength: 64 }),
  /** Epoch milliseconds, on the clock of an edge or of the worker. */
  since: Type.Integer(),
});
export type PresenceChange = Static<typeof PresenceChange>;

/**
 * What the presence of devices has become: message on the exchange `events` after the commit. A device is in a message once; of two messages
 * the later one counts. Messages may be lost: the table `presence` is the truth.
 */
export const PresenceChanged = Type.Object({
  ...eventAttributes,
  type: Type.Literal(presenceChangedType),
  changes: Type.Array(PresenceChange, { minItems: 1, maxItems: presenceChangesPerMessageMax }),
});
export type PresenceChanged = Static<typeof PresenceChanged>;

const parse = parserOf(PresenceChanged);

/** @returns the message, or why it is refused: `malformed-json`, `unsupported-version` (another major), or an invalid field */
export function decodePresenceChanged(content: Buffer): Parsed<PresenceChanged> {
  const event = decodeEvent(content, presenceEventSchemaVersion);
  return event.ok ? parse(event.value) : event;
}
