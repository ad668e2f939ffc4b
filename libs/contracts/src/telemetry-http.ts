import Type, { type Static } from 'typebox';
import { limits } from './limits.ts';
import { type Parsed, type ValidationIssue, accepted, refused, within } from './validation-issue.ts';
import { type Telemetry, TelemetryInput, parseTelemetry } from './telemetry-input.ts';

/** Body of `POST /api/v1/telemetry`. */
export const TelemetryRequest = Type.Union([
  TelemetryInput,
  Type.Array(TelemetryInput, { minItems: 1, maxItems: limits.readingsPerFrameMax }),
]);

/** Its answer, 202, sent once the broker has confirmed. */
export const TelemetryAccepted = Type.Object({
  accepted: Type.Integer({ description: 'Readings that are safe now' }),
  streams: Type.Array(
    Type.Object({
      deviceId: Type.String(),
      epoch: Type.String(),
      firstSeq: Type.Integer(),
      lastSeq: Type.Integer(),
    }),
    { description: 'Under which identity each element is stored, in the order sent' },
  ),
});
export type TelemetryAccepted = Static<typeof TelemetryAccepted>;

/** An element that was refused; `field` begins with its index, `[2].metrics.temp`, where the body was an array. */
interface ElementIssue {
  readonly index: number;
  readonly issue: ValidationIssue;
}

/** Elements of a body, each judged alone; an element that is refused whole stands in `issues` only. */
export interface TelemetryBody {
  readonly elements: readonly { readonly index: number; readonly telemetry: Telemetry }[];
  readonly issues: readonly ElementIssue[];
}

/** @param now epoch milliseconds */
export function parseTelemetryBody(value: unknown, now: number): Parsed<TelemetryBody> {
  const list = Array.isArray(value) ? value : [value];
  if (list.length === 0) return refused('missing-field', '', 'the body is an empty array');
  if (list.length > limits.readingsPerFrameMax) {
    return refused(
      'limit-exceeded',
      '',
      `the body has ${list.length} elements; at most ${limits.readingsPerFrameMax} (readingsPerFrameMax)`,
    );
  }
  const elements: { index: number; telemetry: Telemetry }[] = [];
  const issues: ElementIssue[] = [];
  for (const [index, item] of list.entries()) {
    const prefix = Array.isArray(value) ? `[${index}]` : '';
    const parsed = parseTelemetry(item, now);
    if (!parsed.ok) {
      issues.push({ index, issue: within(prefix, parsed.issue) });
      continue;
    }
    elements.push({ index, telemetry: parsed.value });
    for (const { issue } of parsed.value.issues) issues.push({ index, issue: within(prefix, issue) });
  }
  return accepted({ elements, issues });
}
