import type { Telemetry } from '@fleetwire/contracts/telemetry-input';
import type { ValidationIssue } from '@fleetwire/contracts/validation-issue';

/** Readings of one frame that follow each other and are rejected for the same reason; they get one answer. */
export interface RejectedNeighbours {
  /** Index of the first in the frame. */
  readonly index: number;
  readonly count: number;
  /** That of the first. */
  readonly issue: ValidationIssue;
}

/** A frame may hold 1,000 bad readings: an answer to each would make the frame much cheaper for the sender than for the server. */
export function* rejectedNeighbours(issues: Telemetry['issues']): Iterable<RejectedNeighbours> {
  for (let from = 0; from < issues.length;) {
    const first = issues[from]!;
    let to = from + 1;
    while (to < issues.length && isNeighbour(first, issues[to]!, to - from)) to += 1;
    const count = to - from;
    const { code, field, message } = first.issue;
    const others = count === 2 ? 'the reading' : `the ${count - 1} readings`;
    yield {
      index: first.index,
      count,
      issue: count === 1 ? first.issue : { code, field, message: `${message} (and ${others} after it)` },
    };
    from = to;
  }
}

type Entry = Telemetry['issues'][number];

function isNeighbour(first: Entry, other: Entry, distance: number): boolean {
  return (
    other.index === first.index + distance &&
    other.issue.code === first.issue.code &&
    withoutIndex(other) === withoutIndex(first)
  );
}

/** The message behind `readings[17]`, the same for all readings of a frame that have one fault. */
function withoutIndex({ index, issue }: Entry): string {
  return issue.message.slice(`readings[${index}]`.length);
}
