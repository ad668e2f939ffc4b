import Type from 'typebox';
import { parseJson } from './json-text.ts';
import type { limits } from './limits.ts';
import { type ValidationIssue, refused } from './validation-issue.ts';
import { type Telemetry, TelemetryInput, parseTelemetry } from './telemetry-input.ts';

/** The WebSocket subprotocol; also spoken with a client that requests none. */
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
  | { readonly type: 'ping' };

export const deviceFrameTypes = ['telemetry', 'ping'] as const satisfies readonly DeviceFrame['type'][];

/** A frame that was refused whole, with its sequence number and stream where those could be read. */
export interface RefusedFrame {
  readonly ok: false;
  readonly issue: ValidationIssue;
  readonly seq: number | undefined;
  /** Number of readings in the frame, as far as it could be read; at least 1. */
  readonly count: number;
  readonly deviceId: string | undefined;
  readonly epoch: string | undefined;
}

/** @param now epoch milliseconds */
export function parseDeviceFrame(
  text: string,
  now: number,
): { readonly ok: true; readonly value: DeviceFrame } | RefusedFrame {
  const json = parseJson(text);
  if (!json.ok) return refusedFrame(undefined, json.issue);
  if (typeof json.value !== 'object' || json.value === null || Array.isArray(json.value)) {
    return refusedFrame(undefined, refused('wrong-type', '', 'a frame must be a JSON object').issue);
  }
  const frame = json.value as Record<string, unknown>;
  switch (frame['type']) {
    case 'telemetry': {
      const telemetry = parseTelemetry(frame, now);
      return telemetry.ok
        ? {
            ok: true,
            value: { type: 'telemetry', telemetry: telemetry.value, traceparent: textOf(frame['traceparent']) },
          }
        : refusedFrame(frame, telemetry.issue);
    }
    case 'ping':
      return { ok: true, value: { type: 'ping' } };
    case undefined:
      return refusedFrame(
        frame,
        refused('missing-field', 'type', `is missing; accepted types are ${deviceFrameTypes.join(', ')}`).issue,
      );
    default:
      return refusedFrame(
        frame,
        refused('unknown-type', 'type', `is not known; accepted types are ${deviceFrameTypes.join(', ')}`).issue,
      );
  }
}

function refusedFrame(frame: Record<string, unknown> | undefined, issue: ValidationIssue): RefusedFrame {
  const { type, seq, readings, deviceId, device_id, epoch } = frame ?? {};
  return {
    ok: false,
    issue,
    seq: type === 'telemetry' && Number.isSafeInteger(seq) ? (seq as number) : undefined,
    count: Array.isArray(readings) ? Math.max(1, readings.length) : 1,
    deviceId: [deviceId, device_id].find((id) => typeof id === 'string'),
    epoch: textOf(epoch),
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
}

/** Every reading of the stream that was received on this socket with a seq up to `upTo` is confirmed or was nacked as not retryable. */
export type AckMessage = { readonly type: 'ack'; readonly upTo: number } & StreamReference;

export const nackCodes = ['in-flight-limit', 'broker-unavailable', 'overloaded', 'draining'] as const;

/** `count` readings from `seq` on were not taken. When `retryable`, the device sends them again with the same seqs after `retryAfterMs`. */
export type NackMessage = {
  readonly type: 'nack';
  readonly seq: number;
  readonly count: number;
  readonly code: ValidationIssue['code'] | (typeof nackCodes)[number];
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
} & StreamReference;

/** Refuses for good a frame, or a reading without a seq. */
export interface ErrorMessage {
  readonly type: 'error';
  readonly code: NackMessage['code'];
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

export type ServerMessage = HelloMessage | AckMessage | NackMessage | ErrorMessage | PongMessage;
