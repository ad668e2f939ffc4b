import Type from 'typebox';
import {
  type CommandErrorCode,
  type CommandFrameType,
  type ControlAcceptedMessage,
  type ControlMessage,
  commandFrameTypes,
} from './command-frames.ts';
import { type JsonText, parseJsonText } from './json-text.ts';
import type { limits } from './limits.ts';
import { type SubscriptionFrameType, subscriptionFrameTypes } from './subscription.ts';
import { type ValidationIssue, refused } from './validation-issue.ts';
import { type Telemetry, TelemetryInput, countReadings, parseAddress, parseTelemetry } from './telemetry-input.ts';

/** The WebSocket subprotocol; a client that requests none speaks the plain dialect (plain-dialect.ts). */
export const subprotocol = 'fleetwire.v1.json';

/** Browsers cannot set headers on a WebSocket: they offer the token as a second subprotocol with this prefix. */
export const tokenSubprotocolPrefix = 'fleetwire.token.';

/** WebSocket close codes (RFC 6455, 7.4); codes from 4000 on are defined by the application. */
export const closeCodes = Object.freeze({
  draining: 1001,
  tooBig: 1009,
  overloaded: 1013,
  malformed: 4400,
  unauthorised: 4401,
  forbidden: 4403,
  replaced: 4409,
  tooFast: 4429,
});

export const TelemetryFrame = Type.Object({
  type: Type.Literal('telemetry'),
  ...TelemetryInput.properties,
  traceparent: Type.Optional(
    Type.String({
      description: 'Trace of the frame (W3C Trace Context); an invalid one is ignored',
    }),
  ),
});

export type DeviceFrame =
  | { readonly type: 'telemetry'; readonly telemetry: Telemetry; readonly traceparent: string | undefined }
  | { readonly type: 'ping' }
  /** Parsed by its handler, whose answers carry its `id`. */
  | { readonly type: SubscriptionFrameType; readonly frame: unknown }
  | { readonly type: CommandFrameType; readonly frame: unknown };

export const deviceFrameTypes = [
  'telemetry',
  'ping',
  ...subscriptionFrameTypes,
  ...commandFrameTypes,
] as const satisfies readonly DeviceFrame['type'][];

/** A frame that was rejected as a whole, with its numbers and its stream where those could be read. */
export interface RejectedFrame {
  readonly ok: false;
  readonly issue: ValidationIssue;
  /** Undefined where the frame has no seq, or none that can be read. */
  readonly seq: number | undefined;
  /** Readings in the frame, as far as they could be counted; 0 where it has a seq that cannot be read: the gap that it leaves is counted. */
  readonly count: number;
  readonly deviceId: string | undefined;
  readonly epoch: string | undefined;
  /** `seq`, `deviceId` and `epoch` are valid: the numbers are those of a stream. */
  readonly isAddressed: boolean;
  /** The frame may hold numbered readings whose numbers could not be read. */
  readonly isUnreadable: boolean;
  /** `deviceId` and `epoch` were read, or the frame has none: its readings are of no other stream. */
  readonly isNamed: boolean;
}

/** @param now epoch milliseconds */
export function parseDeviceFrame(
  text: string,
  now: number,
): { readonly ok: true; readonly value: DeviceFrame } | RejectedFrame {
  const json = parseJsonText(text);
  return json.ok ? parseFrame(json.value, now) : unreadableFrame(json.issue);
}

/** @param now epoch milliseconds */
export function parseFrame(
  { value, mayHoldUnstorableText }: JsonText,
  now: number,
): { readonly ok: true; readonly value: DeviceFrame } | RejectedFrame {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return unreadableFrame(refused('wrong-type', '', 'a frame must be a JSON object').issue);
  const frame = value as Record<string, unknown>;
  switch (frame['type']) {
    case 'telemetry': {
      const telemetry = parseTelemetry({ value, mayHoldUnstorableText }, now);
      return telemetry.ok
        ? {
            ok: true,
            value: { type: 'telemetry', telemetry: telemetry.value, traceparent: textOf(frame['traceparent']) },
          }
        : rejectedFrame(frame, telemetry.issue);
    }
    case 'ping':
      return { ok: true, value: { type: 'ping' } };
    case 'subscribe':
    case 'unsubscribe':
    case 'authenticate':
      return { ok: true, value: { type: frame['type'], frame } };
    case 'control':
    case 'control-received':
    case 'control-result':
      return { ok: true, value: { type: frame['type'], frame } };
    case undefined:
      return rejectedFrame(
        frame,
        refused('missing-field', 'type', `is missing; accepted types are ${deviceFrameTypes.join(', ')}`).issue,
      );
    default:
      return rejectedFrame(
        frame,
        refused('unknown-type', 'type', `is not known; accepted types are ${deviceFrameTypes.join(', ')}`).issue,
      );
  }
}

/** A frame of which no member can be read: not text, or not a JSON object. */
export function unreadableFrame(issue: ValidationIssue): RejectedFrame {
  return {
    ok: false,
    issue,
    seq: undefined,
    count: 0,
    deviceId: undefined,
    epoch: undefined,
    isAddressed: false,
    isUnreadable: true,
    isNamed: false,
  };
}

function rejectedFrame(frame: Record<string, unknown>, issue: ValidationIssue): RejectedFrame {
  const { seq, readings, deviceId, device_id, epoch } = frame;
  const isNamed = [deviceId, device_id, epoch].every((name) => name === undefined || typeof name === 'string');
  const isNumbered = isNamed && Number.isSafeInteger(seq);
  const isCounted = readings === undefined || Array.isArray(readings);
  return {
    ok: false,
    issue,
    seq: isNumbered ? (seq as number) : undefined,
    count: isNumbered || seq === undefined ? countReadings(frame) : 0,
    deviceId: [deviceId, device_id].find((id) => typeof id === 'string'),
    epoch: textOf(epoch),
    isAddressed: parseAddress(frame).ok,
    isUnreadable: seq !== undefined && !(isNumbered && isCounted),
    isNamed,
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** The stream that an answer is about; empty for the session's own device and epoch. */
export interface StreamReference {
  readonly deviceId?: string;
  readonly epoch?: string;
}

export interface HelloMessage {
  readonly type: 'hello';
  readonly sessionId: string;
  readonly deviceId: string;
  /** The epoch of readings whose frame names none. */
  readonly epoch: string;
  /** RFC 3339. */
  readonly serverTime: string;
  readonly limits: Pick<typeof limits, 'payloadBytesMax' | 'readingsPerFrameMax' | 'metricsPerReadingMax'> & {
    readonly inFlightMax: number;
    readonly heartbeatIntervalMs: number;
  };
  /** All readings up to this seq were settled in earlier sessions of this epoch. Absent when this instance does not know. */
  readonly lastSeq?: number;
  /** What a device gets that asked with `acks=stored`: `stored` messages, or acks alone. */
  readonly acks?: AcksMode;
}

/** Every reading of the stream that was received on this socket with a seq up to `upTo` is confirmed or was nacked as not retryable. */
export type AckMessage = { readonly type: 'ack'; readonly upTo: number } & StreamReference;

/** Query parameter of the upgrade: what the device wants to hear of its readings. */
export const acksModes = ['confirmed', 'stored'] as const;
export type AcksMode = (typeof acksModes)[number];

/**
 * Every reading of the stream that was received on this socket with a seq up to `upTo` is committed to the database, or was reported as
 * `dead` or nacked as not retryable.
 */
export type StoredMessage = { readonly type: 'stored'; readonly upTo: number } & StreamReference;

/** This reading became a dead letter. */
type DeadMessage = {
  readonly type: 'dead';
  readonly seq: number;
  readonly reason: string;
  readonly message: string;
  /** Absent where the dead letter holds a whole message that could not be read. */
  readonly deadLetterId?: string;
} & StreamReference;

/** Readings of the stream were not stored, because another one with the same seq and other content was stored before. */
type ConflictingMessage = {
  readonly type: 'conflicting';
  /** Of the first of them in this session. */
  readonly seq: number;
  /** In this session so far. */
  readonly count: number;
} & StreamReference;

/** From now on the device gets acks alone. */
interface AcksMessage {
  readonly type: 'acks';
  readonly acks: AcksMode;
  readonly message: string;
}

export const nackCodes = ['in-flight-limit', 'broker-unavailable', 'overloaded', 'draining'] as const;

/**
 * `count` readings from `seq` on were not taken. `unreadable-frame` names numbers that were skipped after a frame that could not be read;
 * they may not have been sent, or may have been acked before. When `retryable`, the device sends them again with the same seqs
 * after `retryAfterMs`.
 */
export type NackMessage = {
  readonly type: 'nack';
  readonly seq: number;
  readonly count: number;
  readonly code: ValidationIssue['code'] | (typeof nackCodes)[number];
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  /** Given with `unknown-type`. */
  readonly acceptedTypes?: readonly string[];
} & StreamReference;

/** Rejects a reading without a seq, a frame without a seq that can be read, or a frame about a command. */
export interface ErrorMessage {
  readonly type: 'error';
  /** Of the frame about a command. */
  readonly id?: string;
  /** Readings that it rejects, where they are several neighbours of one frame. */
  readonly count?: number;
  readonly code: NackMessage['code'] | CommandErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  /** Given with `unknown-type`. */
  readonly acceptedTypes?: readonly string[];
}

interface PongMessage {
  readonly type: 'pong';
  readonly ts: number;
}

export type ServerMessage =
  | HelloMessage
  | AckMessage
  | NackMessage
  | ErrorMessage
  | PongMessage
  | ControlMessage
  | ControlAcceptedMessage
  | StoredMessage
  | DeadMessage
  | ConflictingMessage
  | AcksMessage;
