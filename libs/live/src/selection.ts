import type { LiveRun } from '@fleetwire/contracts/live-message';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { LiveFilter } from './live-filter.ts';

/** A reading of a live message. */
export type SelectedReading = IdentifiedReading & Pick<LiveRun, 'source'>;

const readingsPerFrameMax = 500;
const frameBytesMax = 64 * 1024;

/** The readings of one live message that one filter selects, and their JSON texts, written once for all subscriptions with this filter. */
export class Selection {
  readonly readings: readonly SelectedReading[];
  #frames: readonly string[] | undefined;

  constructor(readings: readonly SelectedReading[]) {
    this.readings = readings;
  }

  /** @param runs of devices that the filter selects */
  static of(runs: readonly LiveRun[], filter: LiveFilter): Selection {
    const readings: SelectedReading[] = [];
    for (const { deviceId, epoch, receivedAt, source, readings: members } of runs) {
      for (const member of members) {
        const reading = filter.project({ deviceId, epoch, receivedAt, ...member });
        if (reading !== undefined) readings.push(source === undefined ? reading : { ...reading, source });
      }
    }
    return new Selection(readings);
  }

  get bytes(): number {
    return this.frames.reduce((sum, frame) => sum + frame.length, 0);
  }

  get frames(): readonly string[] {
    return (this.#frames ??= framesOf(this.readings));
  }
}

/** JSON arrays of readings, each of bounded length. */
export function framesOf(readings: readonly IdentifiedReading[]): string[] {
  const frames: string[] = [];
  let texts: string[] = [];
  let bytes = 0;
  for (const { deviceId, epoch, seq, ts, receivedAt, metrics } of readings) {
    const text = JSON.stringify({
      deviceId,
      epoch,
      seq,
      ts: new Date(ts).toISOString(),
      receivedAt: new Date(receivedAt).toISOString(),
      metrics,
    });
    if (texts.length > 0 && (texts.length >= readingsPerFrameMax || bytes + text.length > frameBytesMax)) {
      frames.push(`[${texts.join(',')}]`);
      texts = [];
      bytes = 0;
    }
    texts.push(text);
    bytes += text.length;
  }
  if (texts.length > 0) frames.push(`[${texts.join(',')}]`);
  return frames;
}
