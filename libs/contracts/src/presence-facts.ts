import Type, { type Static } from 'typebox';
import { decodeEvent, eventAttributes } from './event.ts';
import { DeviceId, Epoch } from './identifiers.ts';
import { parserOf } from './schema-issue.ts';
import type { Parsed } from './validation-issue.ts';

/** Why a session ended. `edge-lost` is not a fact of an edge: the reducer of presence concludes it. */
const sessionEndReasons = [
  'closed-by-device',
  'closed-by-server',
  'network',
  'replaced',
  'token-expired',
  'revoked',
  'instance-stopped',
] as const;
export type SessionEndReason = (typeof sessionEndReasons)[number];

export const presenceTypes = { sessions: 'sessions.changed', beat: 'edge.beat' } as const;
export const presenceSchemaVersion = '1.0';

/** Sessions in one message at most. */
export const sessionsPerMessageMax = 1_000;

const Instant = Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000 });

/** Times are for information: nothing is decided by them, because the clocks of edges differ. */
const SessionFact = Type.Object({
  sessionId: Type.String({ minLength: 1, maxLength: 64 }),
  deviceId: DeviceId,
  epoch: Epoch,
  startedAt: Instant,
});
export type SessionFact = Static<typeof SessionFact>;

/** Complete in itself, so that the reducer needs no `started` before it. */
const EndedSessionFact = Type.Object({
  ...SessionFact.properties,
  reason: Type.Enum([...sessionEndReasons]),
  endedAt: Instant,
});
export type EndedSessionFact = Static<typeof EndedSessionFact>;

const edgeAttributes = {
  ...eventAttributes,
  edge: Type.String({ minLength: 1, maxLength: 64 }),
  /** Grows when the edge may have lost its lease; it then announces its open sessions again. */
  generation: Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 }),
  leaseMs: Type.Integer({ minimum: 1, maximum: 600_000 }),
};

/**
 * What an edge says about its sessions of devices. `edge.beat` renews its lease, and says that every open session of this generation has been
 * announced.
 */
export const PresenceFact = Type.Union([
  Type.Object({
    ...edgeAttributes,
    type: Type.Literal(presenceTypes.sessions),
    started: Type.Array(SessionFact, { maxItems: sessionsPerMessageMax }),
    ended: Type.Array(EndedSessionFact, { maxItems: sessionsPerMessageMax }),
  }),
  Type.Object({ ...edgeAttributes, type: Type.Literal(presenceTypes.beat) }),
]);
export type PresenceFact = Static<typeof PresenceFact>;

const parse = parserOf(PresenceFact);

export function encodePresenceFact(fact: PresenceFact): Buffer {
  return Buffer.from(JSON.stringify(fact));
}

/** @returns the fact, or why it is refused: `malformed-json`, `unsupported-version` (another major), or an invalid field */
export function decodePresenceFact(content: Buffer): Parsed<PresenceFact> {
  const event = decodeEvent(content, presenceSchemaVersion);
  return event.ok ? parse(event.value) : event;
}
