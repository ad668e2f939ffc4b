import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type EnvelopeTimes, timesOf } from '../positions/settled-envelope.ts';

/** A pause between arrivals that parts two pieces: a reader of one piece looks at every reading that arrived within it. */
const pauseMs = 60_000;

/** The times of the readings that lie within none of the `known` times, in pieces. Usually there are none. */
export function uncoveredTimes(
  readings: readonly IdentifiedReading[],
  known: readonly (EnvelopeTimes | undefined)[],
): EnvelopeTimes[] {
  const left = readings.filter((reading) => !isWithinOne(reading, known));
  left.sort((a, b) => a.receivedAt - b.receivedAt);
  const pieces: IdentifiedReading[][] = [];
  for (const reading of left) {
    const piece = pieces.at(-1);
    if (piece !== undefined && reading.receivedAt - piece.at(-1)!.receivedAt <= pauseMs) piece.push(reading);
    else pieces.push([reading]);
  }
  return pieces.map((piece) => timesOf(piece)!);
}

function isWithinOne({ ts, receivedAt }: IdentifiedReading, known: readonly (EnvelopeTimes | undefined)[]): boolean {
  for (const times of known) {
    if (times === undefined || receivedAt < times.receivedMin || receivedAt > times.receivedMax) continue;
    if (ts >= times.tsMin && ts <= times.tsMax) return true;
  }
  return false;
}
