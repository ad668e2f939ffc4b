import type { DeviceLocation, DeviceStatus } from '@fleetwire/contracts/device-registry';
import type { DevicePresence, PresenceStatus } from '@fleetwire/contracts/presence';
import { type RawBuilder, sql, type SqlBool } from 'kysely';
import { collectRows, fetchUpTo, type PageBounds, sized } from '../bounded-rows.ts';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { likePattern } from '../like-pattern.ts';

// Every time here is in epoch milliseconds. Every reader cancels its query when `signal` aborts, and then throws as `fetchRows` does.

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** What the registry knows of a device; each change of it is an event with the whole state. */
export interface RegistryState {
  readonly name: string | null;
  readonly type: string | null;
  readonly status: DeviceStatus;
  readonly tags: readonly string[];
  readonly location: DeviceLocation | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly expectedIntervalMs: number | null;
  /** Readings received up to this time were erased. */
  readonly erasedBefore: number | null;
}

/** A device that only sends has version 0: it is not registered. */
export interface StoredDevice extends RegistryState {
  readonly deviceId: string;
  /** Null for a device that has sent nothing. */
  readonly firstSeenAt: number | null;
  /** When the newest reading was received, and its device time; null if none was ever stored. */
  readonly lastSeenAt: number | null;
  readonly lastTs: number | null;
  readonly version: number;
  /** Null for a device that never had a session of its own. */
  readonly presence: Pick<DevicePresence, 'status' | 'reason' | 'since'> | null;
}

interface DeviceEpoch {
  readonly epoch: string;
  readonly firstSeenAt: number;
  readonly lastSeq: number | null;
}

/** `silentFor` is the reverse of `lastSeenAt`: a device without readings has been silent longest. `presence`: stale, offline, never connected, online. */
export const deviceSorts = ['deviceId', 'name', 'lastSeenAt', 'silentFor', 'presence'] as const;
type DeviceSort = (typeof deviceSorts)[number];

/** Where a page ended: the id, and the value that the list is sorted by where that is not the id. */
export interface DevicePosition {
  readonly deviceId: string;
  readonly name?: string;
  readonly lastSeenAt?: number;
  readonly presenceRank?: number;
}

export interface DeviceQuery extends Abortable, Omit<PageBounds, 'limit'> {
  readonly limit: number;
  readonly sort?: DeviceSort | undefined;
  readonly descending?: boolean | undefined;
  readonly after?: DevicePosition | undefined;
  readonly ids?: readonly string[] | undefined;
  /** Globs of ids. */
  readonly patterns?: readonly string[] | undefined;
  /** A part of the id or the name, in any case. */
  readonly search?: string | undefined;
  /** Devices from which something arrived since. */
  readonly seenSince?: number | undefined;
  /** Devices that have all of these. */
  readonly tags?: readonly string[] | undefined;
  readonly type?: string | undefined;
  readonly statuses?: readonly DeviceStatus[] | undefined;
  readonly registered?: boolean | undefined;
  readonly presence?: PresenceStatus | undefined;
}

const epochsPerDeviceMax = 100;
/** In the order by presence: what needs attention comes first. */
const presenceRanks: Readonly<Record<PresenceStatus, number>> = { stale: 0, offline: 1, online: 3 };
const neverConnectedRank = 2;

// A device can be entered by its first reading before that is stored, which may fail; an earlier reading may then be its first.
const columns = sql.raw(`
  d.device_id as "deviceId",
  least(coalesce(d.first_seen_at, (select min(s.first_seen_at) from streams s where s.device_key = d.device_key)), l.received_at) as "firstSeenAt",
  l.received_at as "lastSeenAt", l.ts as "lastTs", d.name, d.type, d.status, d.tags, d.location, d.metadata,
  d.expected_interval_ms as "expectedIntervalMs", d.erased_before as "erasedBefore", d.version,
  case when p.device_id is not null then
    jsonb_build_object('status', p.status, 'reason', p.reason, 'since', floor(extract(epoch from p.since) * 1000)) end as presence`);
const from = sql.raw(
  'from devices d left join device_latest l on l.device_key = d.device_key left join presence p on p.device_id = d.device_id',
);

export async function listDevices(
  database: Database,
  options: DeviceQuery,
): Promise<(StoredDevice & { readonly bytes: number })[]> {
  const { sort = 'deviceId', descending = false, after, signal } = options;
  const filter = sql.join([sql<SqlBool>`true`, ...conditionsOf(options)], sql` and `);
  const isDescending = descending !== (sort === 'silentFor');
  const direction = isDescending ? sql`desc` : sql`asc`;
  const sortedBy = sortColumn(sort);
  const order =
    sortedBy === undefined ? sql`d.device_id ${direction}` : sql`${sortedBy} ${direction}, d.device_id ${direction}`;
  return collectRows<StoredDevice & { readonly bytes: number }>(options, async ({ limit, bytesMax }, last) => {
    const position = last === undefined ? after : positionOf(last, sort);
    const following = position === undefined ? sql`true` : isAfter(position, { sort, isDescending });
    const query = sql<StoredDevice>`(
      select ${columns} ${from} where ${filter} and ${following} order by ${order} limit ${limit})`;
    return sized(await fetchUpTo(database, query, { documents: ['metadata', 'tags', 'name'], bytesMax, signal }));
  });
}

/** The position of a device in a list, for the next page. */
export function positionOf(
  { deviceId, name, lastSeenAt, presence }: Pick<StoredDevice, 'deviceId' | 'name' | 'lastSeenAt' | 'presence'>,
  sort: DeviceSort,
): DevicePosition {
  switch (sort) {
    case 'deviceId':
      return { deviceId };
    case 'name':
      return { deviceId, name: name ?? '' };
    case 'presence':
      return { deviceId, presenceRank: presence === null ? neverConnectedRank : presenceRanks[presence.status] };
    case 'lastSeenAt':
    case 'silentFor':
      return { deviceId, lastSeenAt: lastSeenAt ?? 0 };
  }
}

/** @returns undefined where the device is unknown */
export async function getDevice(
  { db, pool }: Database,
  { deviceId, signal }: Abortable & { readonly deviceId: string },
): Promise<StoredDevice | undefined> {
  const query = sql<StoredDevice>`select ${columns} ${from} where d.device_id = ${deviceId}`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

/** The boots of a device, newest first, at most `epochsPerDeviceMax`. */
export async function epochsOf(
  { db, pool }: Database,
  { deviceId, signal }: Abortable & { readonly deviceId: string },
): Promise<DeviceEpoch[]> {
  const query = sql<DeviceEpoch>`
    select s.epoch, s.first_seen_at as "firstSeenAt",
      (select upper(b.seen) - 1 from sequence_blocks b where b.stream_key = s.stream_key order by b.block desc limit 1) as "lastSeq"
    from streams s join devices d using (device_key)
    where d.device_id = ${deviceId} order by s.stream_key desc limit ${epochsPerDeviceMax}`;
  return fetchRows(pool, query.compile(db), signal);
}

/** The number of devices by status; of many thousands in one pass over the table. */
export async function countDevices(
  { db, pool }: Database,
  { signal }: Abortable,
): Promise<{ status: DeviceStatus; registered: boolean; count: number }[]> {
  const query = sql<{ status: DeviceStatus; registered: boolean; count: number }>`
    select status, version > 0 as registered, count(*) from devices group by 1, 2`;
  return fetchRows(pool, query.compile(db), signal);
}

/** How many devices there are by presence, but retired ones. */
interface PresenceCounts {
  readonly devices: number;
  readonly online: number;
  readonly stale: number;
  readonly offline: number;
  readonly neverConnected: number;
}

/** In one pass over all devices. */
export async function countByPresence({ db, pool }: Database, { signal }: Abortable): Promise<PresenceCounts> {
  const query = sql<PresenceCounts>`
    select count(*) as devices, count(*) filter (where p.status = 'online') as online,
      count(*) filter (where p.status = 'stale') as stale, count(*) filter (where p.status = 'offline') as offline,
      count(*) filter (where p.status is null) as "neverConnected"
    from devices d left join presence p on p.device_id = d.device_id where d.status <> 'retired'`;
  return (await fetchRows(pool, query.compile(db), signal))[0]!;
}

function conditionsOf({
  ids,
  patterns,
  search,
  seenSince,
  tags,
  type,
  statuses,
  registered,
  presence,
}: DeviceQuery): RawBuilder<SqlBool>[] {
  const conditions: RawBuilder<SqlBool>[] = [];
  if (ids !== undefined) conditions.push(sql`d.device_id = any(${ids}::text[])`);
  if (patterns !== undefined) conditions.push(sql`d.device_id like any(${patterns.map(likePattern)}::text[])`);
  if (search !== undefined) {
    const pattern = `%${search.replaceAll(/[\\%_]/g, '\\$&')}%`;
    conditions.push(sql`(d.device_id ilike ${pattern} or d.name ilike ${pattern})`);
  }
  if (seenSince !== undefined) conditions.push(sql`l.received_at >= ${at(seenSince)}`);
  if (tags !== undefined) conditions.push(sql`d.tags @> ${tags}::text[]`);
  if (type !== undefined) conditions.push(sql`d.type = ${type}`);
  if (statuses !== undefined) conditions.push(sql`d.status = any(${statuses}::text[])`);
  if (registered !== undefined) conditions.push(registered ? sql`d.version > 0` : sql`d.version = 0`);
  if (presence !== undefined) conditions.push(sql`p.status = ${presence}`);
  return conditions;
}

function sortColumn(sort: DeviceSort): RawBuilder<unknown> | undefined {
  switch (sort) {
    case 'deviceId':
      return undefined;
    case 'name':
      return sql`coalesce(d.name, '')`;
    case 'presence': {
      const { stale, offline, online } = presenceRanks;
      return sql.raw(`case p.status when 'stale' then ${stale} when 'offline' then ${offline} when 'online' then ${online}
        else ${neverConnectedRank} end`);
    }
    case 'lastSeenAt':
    case 'silentFor':
      return sql`coalesce(l.received_at, 'epoch')`;
  }
}

function isAfter(
  { deviceId, name = '', lastSeenAt = 0, presenceRank = 0 }: DevicePosition,
  { sort, isDescending }: { readonly sort: DeviceSort; readonly isDescending: boolean },
): RawBuilder<SqlBool> {
  const beyond = isDescending ? sql`<` : sql`>`;
  const column = sortColumn(sort);
  if (column === undefined) return sql`d.device_id ${beyond} ${deviceId}`;
  const value = sort === 'name' ? sql`${name}::text` : sort === 'presence' ? sql`${presenceRank}::int` : at(lastSeenAt);
  return sql`(${column}, d.device_id) ${beyond} (${value}, ${deviceId})`;
}

/** Epoch milliseconds as a timestamp, exactly. */
function at(epochMs: number): RawBuilder<number> {
  return sql`${new Date(epochMs).toISOString()}::timestamptz`;
}
