import type { DeviceEventType } from '@fleetwire/contracts/device-event';
import { type RawBuilder, sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import type { RegistryState } from './devices.ts';

/** A change of the registry. It is one statement, so the device and its event are written in one transaction. */
export interface DeviceChange {
  readonly deviceId: string;
  readonly type: DeviceEventType;
  /** The subject of the caller's token. */
  readonly actor: string;
  readonly state: RegistryState;
  /** What is different from before, as a JSON merge patch. */
  readonly patch: Readonly<Record<string, unknown>>;
  readonly signal?: AbortSignal | undefined;
}

/** Registers a device that is not in the table yet. @returns false where it is, also since a moment ago */
export async function insertDevice(database: Database, change: DeviceChange): Promise<boolean> {
  const { deviceId, state } = change;
  return record(
    database,
    change,
    // Looks first, because an insert that conflicts uses up a key.
    sql`insert into devices (device_id, first_seen_at, name, type, status, tags, location, metadata, expected_interval_ms, erased_before, version)
      select ${deviceId}, null, ${sql.join(valuesOf(state))}, 1
      where not exists (select from devices where device_id = ${deviceId})
      on conflict do nothing
      returning device_key, version`,
  );
}

export interface DeviceUpdate extends DeviceChange {
  readonly expectedVersion: number;
  /** Id of a job that erases the readings of the device up to `state.erasedBefore`. */
  readonly erasureId?: string | undefined;
}

/** @returns false where the device has another version than expected, and nothing is changed */
export async function updateDevice(database: Database, change: DeviceUpdate): Promise<boolean> {
  const { deviceId, state, expectedVersion } = change;
  return record(
    database,
    change,
    sql`update devices
      set (name, type, status, tags, location, metadata, expected_interval_ms, erased_before, version)
        = (select ${sql.join(valuesOf(state))}, version + 1)
      where device_id = ${deviceId} and version = ${expectedVersion}
      returning device_key, version`,
  );
}

async function record(
  { db, pool }: Database,
  { type, actor, state, patch, erasureId, signal }: Pick<DeviceUpdate, keyof DeviceChange | 'erasureId'>,
  changed: RawBuilder<unknown>,
): Promise<boolean> {
  const query = sql`
    with changed as (${changed}), erasure as (
      insert into device_erasures (id, device_key, requested_by, erase_before)
      select ${erasureId ?? null}::text, device_key, ${actor}, ${instantOf(state.erasedBefore)}
      from changed where ${erasureId !== undefined}
    )
    insert into device_events (device_key, version, type, actor, patch, state)
    select device_key, version, ${type}, ${actor}, ${JSON.stringify(patch)}::jsonb, ${JSON.stringify(state)}::jsonb from changed
    returning version`;
  return (await fetchRows(pool, query.compile(db), signal)).length > 0;
}

function instantOf(epochMs: number | null) {
  return sql`${epochMs === null ? null : new Date(epochMs).toISOString()}::timestamptz`;
}

function valuesOf(state: RegistryState) {
  const { name, type, status, tags, location, metadata, expectedIntervalMs, erasedBefore } = state;
  return [
    sql`${name}::text`,
    sql`${type}::text`,
    sql`${status}::text`,
    sql`${tags}::text[]`,
    sql`${location === null ? null : JSON.stringify(location)}::jsonb`,
    sql`${JSON.stringify(metadata)}::jsonb`,
    sql`${expectedIntervalMs}::int8`,
    instantOf(erasedBefore),
  ];
}
