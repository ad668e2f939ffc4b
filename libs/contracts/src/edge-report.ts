import Type, { type Static } from 'typebox';
import { decodeEvent, eventAttributes } from './event.ts';
import { limits } from './limits.ts';
import type { Parsed } from './validation-issue.ts';
import { parserOf } from './schema-issue.ts';

export const edgeReportType = 'ingest.accounted';
export const edgeReportSchemaVersion = '1.1';

const minuteMs = 60_000;

/** Minutes since 1970. Reconciliation counts readings by the minute in which the edge received them. */
export function minuteOf(epochMs: number): number {
  return Math.floor(epochMs / minuteMs);
}

/** Start of a minute of the reconciliation, in epoch milliseconds. */
export function startOfMinute(minute: number): number {
  return minute * minuteMs;
}

const Count = Type.Integer({ minimum: 0 });

/** Outcomes of readings at the edge. Received readings are accepted + rejected + nacked. */
const counts = {
  /** Confirmed by the broker. */
  accepted: Count,
  /** With a final nack, or refused over HTTP as such. */
  rejected: Count,
  /** To be sent again; the resent readings are counted anew. */
  nacked: Count,
  /** The part of `nacked` that was published without an answer: the broker may have it, so it may be stored after all. */
  unconfirmed: Count,
};
export type EdgeCounts = { -readonly [Name in keyof typeof counts]: number };

const EdgeReportEntry = Type.Object({
  minute: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }),
  /** Absent: readings of devices beyond the number that have entries of their own. */
  deviceId: Type.Optional(Type.String({ maxLength: limits.deviceIdCharactersMax })),
  ...counts,
});
export type EdgeReportEntry = Static<typeof EdgeReportEntry>;

/** First and last of consecutive envelope numbers. */
const Numbers = Type.Tuple([Type.Integer({ minimum: 1 }), Type.Integer({ minimum: 1 })]);

const EdgePositions = Type.Object({
  /** The greatest number that an envelope has; 0 before the first. */
  last: Type.Integer({ minimum: 0 }),
  /** Every reading that arrived before this time is in an envelope up to `last`, or was not accepted; epoch milliseconds. */
  numberedBefore: Type.Integer(),
  /** The next report follows after this time. */
  intervalMs: Type.Integer({ minimum: 1, maximum: 3_600_000 }),
  /** Since the previous report: numbers of envelopes that are in no queue. */
  unsent: Type.Array(Numbers),
  /** Since the previous report: numbers of envelopes that were published without an answer. Their readings were not acknowledged. */
  unconfirmed: Type.Array(Numbers),
});
export type EdgePositions = Static<typeof EdgePositions>;

/**
 * The counts of one ingest instance since its previous report. `sequence` runs from 1 without gaps, and a report is repeated under its number
 * until it is confirmed. So reconciliation detects a missing report, and an instance that stops reporting without a last report.
 */
export const EdgeReport = Type.Object({
  ...eventAttributes,
  type: Type.Literal(edgeReportType),
  instanceId: Type.String({ minLength: 1, maxLength: 64 }),
  sequence: Type.Integer({ minimum: 1 }),
  /** No report follows: the instance has drained. */
  isLast: Type.Boolean(),
  entries: Type.Array(EdgeReportEntry),
  /** Since version 1.1. */
  positions: Type.Optional(EdgePositions),
});
export type EdgeReport = Static<typeof EdgeReport>;

const parse = parserOf(EdgeReport);

export function encodeEdgeReport(report: EdgeReport): Buffer {
  return Buffer.from(JSON.stringify(report));
}

/** @returns the report, or why it is refused: `malformed-json`, `unsupported-version` (another major), or an invalid field */
export function decodeEdgeReport(content: Buffer): Parsed<EdgeReport> {
  const event = decodeEvent(content, edgeReportSchemaVersion);
  return event.ok ? parse(event.value) : event;
}
