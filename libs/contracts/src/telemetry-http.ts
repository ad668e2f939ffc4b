import Type, { type Static } from 'typebox';
import type { JsonText } from './json-text.ts';
import { limits } from './limits.ts';
import { type Parsed, type ValidationIssue, accepted, refused } from './validation-issue.ts';
import { type Telemetry, TelemetryInput, countReadings, parseTelemetry } from './telemetry-input.ts';

/** Body of `POST /api/v1/telemetry`. */
export const TelemetryRequest = Type.Union([
  TelemetryInput,
  Type.Array(TelemetryInput, { minItems: 1, maxItems: limits.readingsPerFrameMax }),
]);

/** Body of the answer 202, which is sent after the broker's confirm. */
export const TelemetryAccepted = Type.Object({
  accepted: Type.Integer({ description: 'Readings that the broker has confirmed' }),
  streams: Type.Array(
    Type.Object({
      deviceId: Type.String(),
      epoch: Type.String(),
      firstSeq: Type.Integer(),
      lastSeq: Type.Integer(),
    }),
    { description: 'The identity under which each element is stored, in the order sent' },
  ),
});
export type TelemetryAccepted = Static<typeof TelemetryAccepted>;

type TelemetryElement =
  | { readonly ok: true; readonly value: Telemetry }
  /** Refused whole, with the number of its readings. */
  | { readonly ok: false; readonly issue: ValidationIssue; readonly readingCount: number };

/** A body, each element parsed by itself. */
export interface TelemetryBody {
  /** The body was an array: a caller finds an element by its index, `[2].metrics.temp`. */
  readonly isArray: boolean;
  readonly elements: readonly TelemetryElement[];
}

/** @param now epoch milliseconds */
export function parseTelemetryBody({ value, mayHoldUnstorableText }: JsonText, now: number): Parsed<TelemetryBody> {
  const isArray = Array.isArray(value);
  const list: unknown[] = isArray ? value : [value];
  if (list.length === 0) return refused('missing-field', '', 'the body is an empty array');
  if (list.length > limits.readingsPerFrameMax) {
    return refused(
      'limit-exceeded',
      '',
      `the body has ${list.length} elements; at most ${limits.readingsPerFrameMax} (readingsPerFrameMax)`,
    );
  }
  const elements = list.map((element): TelemetryElement => {
    const parsed = parseTelemetry({ value: element, mayHoldUnstorableText }, now);
    return parsed.ok ? parsed : { ...parsed, readingCount: Math.max(1, countReadings(element)) };
  });
  return accepted({ isArray, elements });
}
