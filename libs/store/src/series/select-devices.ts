import { sql, type RawBuilder, type SqlBool } from 'kysely';
import type pg from 'pg';
import { textArray } from '../binary-arrays.ts';
import type { Database } from '../database.ts';
import { likePattern } from '../like-pattern.ts';

/** All that are given apply; one at least is. */
export interface DeviceSelection {
  readonly devices?: readonly string[] | undefined;
  /** Glob with `*` and `?`. */
  readonly pattern?: string | undefined;
  readonly tag?: string | undefined;
  readonly type?: string | undefined;
}

export interface SelectedDevice {
  readonly deviceKey: number;
  readonly deviceId: string;
  readonly type: string | null;
  readonly tags: readonly string[];
}

const columns = `device_key as "deviceKey", device_id as "deviceId", type, tags`;

/** The devices of the selection by id, at most `limit`. */
export async function selectDevices(
  { db }: Pick<Database, 'db'>,
  client: pg.PoolClient,
  selection: DeviceSelection,
  limit: number,
): Promise<SelectedDevice[]> {
  const { devices, pattern, tag, type } = selection;
  if (devices !== undefined && (pattern ?? tag ?? type) === undefined) {
    const { rows } = await client.query<SelectedDevice & pg.QueryResultRow>({
      name: 'devices_by_id',
      text: `select ${columns} from devices where device_id = any($1::text[]) order by device_id limit $2`,
      values: [textArray(devices), limit],
    });
    return rows;
  }
  const query = sql<SelectedDevice>`
    select ${sql.raw(columns)} from devices where ${isSelected(selection)} order by device_id limit ${limit}`.compile(
    db,
  );
  return (await client.query<SelectedDevice & pg.QueryResultRow>(query.sql, [...query.parameters])).rows;
}

/** For `devices`. */
export function isSelected({ devices, pattern, tag, type }: DeviceSelection): RawBuilder<SqlBool> {
  const conditions: RawBuilder<SqlBool>[] = [];
  if (devices !== undefined) conditions.push(sql`device_id = any(${devices}::text[])`);
  if (pattern !== undefined) conditions.push(sql`device_id like ${likePattern(pattern)}`);
  if (tag !== undefined) conditions.push(sql`tags @> ${[tag]}::text[]`);
  if (type !== undefined) conditions.push(sql`type = ${type}`);
  return sql<SqlBool>`${sql.join(conditions, sql` and `)}`;
}
