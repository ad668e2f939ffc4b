import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import type { Batch } from '../batch-statements.ts';
import { int4Array } from '../binary-arrays.ts';
import { OlderThanRetentionError } from '../failure.ts';
import type { StreamKeys } from '../keys.ts';
import { type Horizon, hourOf, startOfHour } from './horizon.ts';

/**
 * Marks the tiles below the horizon in which readings are stored; none where all are newer, as they usually are. In the transaction of the
 * rows. `do nothing` in place of the update would be wrong: a builder that has read the tile before would then clear the mark.
 * @param ordinals of the readings that are new
 * @throws OlderThanRetentionError for readings of hours of which only rollups are left
 */
export function markTiles({ readings, streams }: Batch, ordinals: readonly number[], at: Horizon): pg.QueryConfig[] {
  const horizonMs = startOfHour(at.horizon);
  const late = ordinals.filter((ordinal) => (readings[ordinal] as IdentifiedReading).ts < horizonMs);
  if (late.length === 0) return [];
  const rawFromMs = startOfHour(at.rawFrom);
  const refused = late.map((ordinal) => readings[ordinal] as IdentifiedReading).filter(({ ts }) => ts < rawFromMs);
  if (refused.length > 0) throw new OlderThanRetentionError(refused, rawFromMs);
  const hours = new Map<number, Set<number>>();
  for (const ordinal of late) {
    const { deviceKey } = streams[ordinal] as StreamKeys;
    const hour = hourOf((readings[ordinal] as IdentifiedReading).ts);
    const ofDevice = hours.get(deviceKey);
    if (ofDevice === undefined) hours.set(deviceKey, new Set([hour]));
    else ofDevice.add(hour);
  }
  // All writers must lock rows in the same order.
  const tiles = [...hours].flatMap(([deviceKey, ofDevice]) => [...ofDevice].map((hour) => ({ deviceKey, hour })));
  tiles.sort((a, b) => a.deviceKey - b.deviceKey || a.hour - b.hour);
  return [
    {
      name: 'mark_tiles',
      text: `
        insert into rollup_marks as known (device_key, hour) select * from unnest($1::int4[], $2::int4[])
        on conflict (device_key, hour) do update set version = known.version + 1, marked_at = excluded.marked_at`,
      values: [int4Array(tiles.map(({ deviceKey }) => deviceKey)), int4Array(tiles.map(({ hour }) => hour))],
    },
  ];
}
