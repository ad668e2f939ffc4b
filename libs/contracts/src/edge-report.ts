import Type, { type Static } from 'typebox';
import { decodeEvent, eventAttributes } from './event.ts';
import { limits } from './limits.ts';
import type { Parsed } from './validation-issue.ts';
import { parserOf } from './schema-issue.ts';

export const edgeReportType = 'ingest.accounted';
export const edgeReportSchemaVersion = '1.0';

const minuteMs = 60_000;

/** Minutes since the epoch: what the books are kept by. It is the minute in which the edge received a reading. */
export function minuteOf(epochMs: number): number {
  return Math.floor(epochMs / minuteMs);
}

/** When a minute of the books begins, in epoch milliseconds. */
export function startOfMinute(minute: number): number {
  return minute * minuteMs;
}

const Count = Type.Integer({ minimum: 0 });

/** What became of readings at the edge. */
const counts = {
  /** Confirmed by the broker. */
  accepted: Count,
  /** Refused for good. */
  rejected: Count,
  /** Refused for now; the device sends them again, and then they count again. */
  nacked: Count,
  /** The part of the nacked that was published without an answer: the broker may have them all the same. */
  unconfirmed: Count,
};
export type EdgeCounts = { -readonly [Name in keyof typeof counts]: number };

const EdgeReportEntry = Type.Object({
  minute: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }),
  /** Absent: readings of devices beyond what one report tells apart. */
  deviceId: Type.Optional(Type.String({ maxLength: limits.deviceIdCharactersMax })),
  ...counts,
});
export type EdgeReportEntry = Static<typeof EdgeReportEntry>;

/**
 * What one ingest instance has counted since its report before. `sequence` runs from 1 without holes, and a report is repeated under its
 * number until it is confirmed: a number that never arrives, or an instance that falls silent without its last report, is seen.
 */
export const EdgeReport = Type.Object({
  ...eventAttributes,
  type: Type.Literal(edgeReportType),
  instanceId: Type.String({ minLength: 1, maxLength: 64 }),
  sequence: Type.Integer({ minimum: 1 }),
  /** Nothing follows: the instance has drained. */
  isLast: Type.Boolean(),
  entries: Type.Array(EdgeReportEntry),
});
export type EdgeReport = Static<typeof EdgeReport>;

const parse = parserOf(EdgeReport);

export function encodeEdgeReport(report: EdgeReport): Buffer {
  return Buffer.from(JSON.stringify(report));
}

/** @returns `unsupported-version` where the major is not ours, `malformed-json`, or the field that does not fit */
export function decodeEdgeReport(content: Buffer): Parsed<EdgeReport> {
  const event = decodeEvent(content, edgeReportSchemaVersion);
  return event.ok ? parse(event.value) : event;
}
