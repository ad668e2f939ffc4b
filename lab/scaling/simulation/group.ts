/** Frames that arrive together and go to the same queue. */
export interface Group {
  readonly readingCount: number;
  readonly bytes: number;
  /** When the devices sent them, simulated milliseconds. */
  readonly sentAt: number;
}

export interface Envelope {
  readonly groups: readonly Group[];
  readonly readingCount: number;
  readonly bytes: number;
}

export function envelopeOf(groups: readonly Group[]): Envelope {
  const sum = (of: (group: Group) => number) => groups.reduce((total, group) => total + of(group), 0);
  return { groups, readingCount: sum(({ readingCount }) => readingCount), bytes: sum(({ bytes }) => bytes) };
}
