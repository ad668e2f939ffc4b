import type pg from 'pg';
import { deleteTiles } from './build-tiles.ts';

/**
 * Deletes rollups of a device of which the readings are gone, the oldest first: they do not say when the readings were received. All others
 * are built again from what is left.
 * @returns how many tiles
 */
export async function eraseFinalTiles(client: pg.ClientBase, deviceKey: number, tilesMax: number): Promise<number> {
  const { rows } = await client.query<{ from: number | null; to: number | null }>(
    `select min(hour) as from, max(hour) + 1 as to from (
       select hour from tiles where device_key = $1 and hour < (select final_until from rollup_state) order by hour limit $2
     ) as oldest`,
    [deviceKey, tilesMax],
  );
  const { from, to } = rows[0]!;
  if (from === null || to === null) return 0;
  return deleteTiles(client, [{ deviceKey, fromHour: from, toHour: to }]);
}
