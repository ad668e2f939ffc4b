import type { DeviceEventType } from '@fleetwire/contracts/device-event';
import { sql } from 'kysely';
import { collectRows, fetchUpTo, type PageBounds, sized } from '../bounded-rows.ts';
import { fetchRows } from '../cancellable.ts';
import {
  type CommitPosition,
  commitOrder,
  isCommittedAfter,
  positionAfter,
  ReadReplicaError,
} from '../commit-order.ts';
import type { Database } from '../database.ts';
import type { RegistryState } from './devices.ts';

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** One change of the registry: who, when, what, and the state since then. */
export interface StoredDeviceEvent {
  readonly key: number;
  readonly deviceId: string;
  readonly version: number;
  readonly type: DeviceEventType;
  /** Epoch milliseconds. */
  readonly occurredAt: number;
  readonly actor: string;
  readonly patch: Readonly<Record<string, unknown>> | null;
  readonly state: RegistryState;
}

const columns = sql.raw(`
  e.event_key as key, d.device_id as "deviceId", e.version, e.type, e.occurred_at as "occurredAt", e.actor, e.patch, e.state`);
const commitColumns = { xid: sql`e.xid`, key: sql`e.event_key` };

/** The events of one device, newest first. `before`: the last version of the page before. */
export async function eventsOfDevice(
  database: Database,
  options: Abortable & PageBounds & { readonly deviceId: string; readonly before?: number | undefined },
): Promise<(StoredDeviceEvent & { readonly bytes: number })[]> {
  const { deviceId, before = 2 ** 31 - 1, signal } = options;
  return collectRows<StoredDeviceEvent & { readonly bytes: number }>(options, async ({ limit, bytesMax }, last) => {
    const query = sql<StoredDeviceEvent>`(
      select ${columns} from device_events e join devices d using (device_key)
      where d.device_id = ${deviceId} and e.version < ${last?.version ?? before} order by e.version desc limit ${limit})`;
    return sized(await fetchUpTo(database, query, { documents: ['patch', 'state'], bytesMax, signal }));
  });
}

/** The last event of a device at a time (epoch milliseconds); without `at`, the last of all. */
export async function lastEventOfDevice(
  { db, pool }: Database,
  { deviceId, at, signal }: Abortable & { readonly deviceId: string; readonly at?: number | undefined },
): Promise<StoredDeviceEvent | undefined> {
  const until = at === undefined ? sql`true` : sql`e.occurred_at <= ${new Date(at).toISOString()}::timestamptz`;
  const query = sql<StoredDeviceEvent>`
    select ${columns} from device_events e join devices d using (device_key)
    where d.device_id = ${deviceId} and ${until} order by e.version desc limit 1`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

export interface DeviceEventsPage {
  readonly events: readonly StoredDeviceEvent[];
  readonly position: CommitPosition;
  /** Nothing more was committed when this page was read. */
  readonly complete: boolean;
  /** System identifier and timeline: another one after a restore or a fail-over, which give transaction ids again. */
  readonly store: string;
}

/**
 * The events of all devices that follow a position, in commit order.
 * @throws {ReadReplicaError} on a standby: its snapshots list no transaction in progress, so rows would be skipped
 */
export async function deviceEventsAfter(
  { db, pool }: Database,
  { position, limit, signal }: Abortable & { readonly position: CommitPosition; readonly limit: number },
): Promise<DeviceEventsPage> {
  type Row = { readonly [Name in keyof StoredDeviceEvent]: StoredDeviceEvent[Name] | null } & {
    readonly xid: string | null;
    readonly snapshot: string;
    readonly store: string | null;
  };
  const query = sql<Row>`
    select s.snapshot, s.store, page.* from (
      select pg_current_snapshot()::text as snapshot, case when not pg_is_in_recovery() then
        (select system_identifier from pg_control_system()) || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end as store
    ) as s
    left join lateral (
      select ${columns}, e.xid::text as xid from device_events e join devices d using (device_key)
      where ${isCommittedAfter(position, commitColumns)} order by ${commitOrder(commitColumns)} limit ${limit}
    ) as page on true`;
  const rows = await fetchRows(pool, query.compile(db), signal);
  const { snapshot, store } = rows[0] as Row;
  if (store === null) throw new ReadReplicaError();
  const events = rows.filter((row): row is Row & StoredDeviceEvent & { readonly xid: string } => row.key !== null);
  const end = events.length < limit ? undefined : events.at(-1);
  return {
    events: events.map(({ key, deviceId, version, type, occurredAt, actor, patch, state }) => ({
      key,
      deviceId,
      version,
      type,
      occurredAt,
      actor,
      patch,
      state,
    })),
    position: positionAfter(position, { snapshot, last: end && { xid: end.xid, key: end.key } }),
    complete: end === undefined,
    store,
  };
}
