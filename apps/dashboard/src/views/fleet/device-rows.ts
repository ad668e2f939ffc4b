import type { components } from '@fleetwire/client/openapi';
import type { DeviceFilter } from '../../device-question.ts';
import type { ListedDevice } from '../../first-devices.ts';
import type { FleetDevice } from '../../fleet.ts';
import { csvLine } from '../../download.ts';
import { count, duration, interval } from '../../format.ts';
import type { Sort } from '../../table.tsx';

export type DeviceInTime = components['schemas']['DeviceInTime'];

export type PresenceWord = 'online' | 'stale' | 'offline' | 'never seen';

/** One device of the table: what is registered, whether it is connected, and what the last day says of it. */
export interface DeviceRow {
  readonly deviceId: string;
  readonly name: string;
  readonly type: string;
  readonly tags: readonly string[];
  readonly state: PresenceWord;
  /** Why it is in this state: `timeout`, `edge-lost`, … */
  readonly reason: string;
  /** Since when it is in this state, in milliseconds. */
  readonly since: number | undefined;
  readonly expectedIntervalMs: number | undefined;
  readonly lastSeenAt: number | undefined;
  readonly aheadMs: number;
  readonly perSecond: number | undefined;
  /** Share of expected readings that are stored, of the last 24 h. */
  readonly share: number | undefined;
  readonly missing: number;
  readonly deadLetters: number;
}

/** What the API says of devices besides the live socket, by id. */
export interface DeviceFacts {
  readonly listed: ReadonlyMap<string, ListedDevice>;
  readonly day: ReadonlyMap<string, DeviceInTime>;
  readonly hour: ReadonlyMap<string, DeviceInTime>;
}

/** From how far ahead of its arrival a reading tells of a wrong clock; less may be the way through the network. */
const aheadNoticeableMs = 30_000;

export function rowOf(
  { deviceId, registration, presence }: FleetDevice,
  { listed, day, hour }: DeviceFacts,
): DeviceRow {
  const known = listed.get(deviceId);
  const lastDay = day.get(deviceId);
  const lastHour = hour.get(deviceId);
  const lastSeenAt = timeOf(known?.lastSeenAt);
  const lastTs = timeOf(known?.lastTs);
  return {
    deviceId,
    name: registration?.name ?? '',
    type: registration?.type ?? '',
    tags: registration?.tags ?? [],
    state: presence?.status ?? 'never seen',
    reason: presence?.reason ?? '',
    since: timeOf(presence?.since),
    expectedIntervalMs: registration?.expectedIntervalMs ?? lastDay?.expectedIntervalMs ?? undefined,
    lastSeenAt,
    aheadMs:
      lastTs !== undefined && lastSeenAt !== undefined && lastTs - lastSeenAt > aheadNoticeableMs
        ? lastTs - lastSeenAt
        : 0,
    perSecond: lastHour === undefined ? undefined : lastHour.stored / 3_600,
    share: lastDay?.share ?? undefined,
    missing: lastDay?.sequenceMissing ?? 0,
    deadLetters: lastDay?.deadLetters ?? 0,
  };
}

/** What an operator should know of a device, in some words; empty where there is nothing. */
export function noteOf(row: DeviceRow): { readonly text: string; readonly isWarning: boolean } {
  if (row.state === 'stale')
    return {
      text:
        row.expectedIntervalMs === undefined
          ? 'silent for longer than usual'
          : `silent, usually every ${interval(row.expectedIntervalMs)}`,
      isWarning: true,
    };
  if (row.state === 'offline') return { text: reasonText(row.reason), isWarning: false };
  if (row.state === 'never seen') return { text: 'has not connected yet', isWarning: false };
  if (row.deadLetters > 0)
    return { text: `${count(row.deadLetters)} dead ${row.deadLetters === 1 ? 'letter' : 'letters'}`, isWarning: true };
  if (row.missing > 0) return { text: `gap: ${count(row.missing)} missing`, isWarning: true };
  if (row.aheadMs > 0) return { text: `clock ${duration(row.aheadMs)} ahead`, isWarning: true };
  return { text: '', isWarning: false };
}

/** Why a connection ended or a device is in its state, in words. */
export function reasonText(reason: string): string {
  return reason === '' ? '' : reason.replaceAll('-', ' ');
}

/** Whether its note is a warning. */
function needsAttention({ state, deadLetters, missing, aheadMs }: DeviceRow): boolean {
  return state === 'stale' || (state === 'online' && (deadLetters > 0 || missing > 0 || aheadMs > 0));
}

export function matches(row: DeviceRow, { text, type, tags, presence }: DeviceFilter): boolean {
  const wanted = text.trim().toLowerCase();
  return (
    (type === '' || row.type === type) &&
    (presence === '' || (presence === 'attention' ? needsAttention(row) : row.state === presence)) &&
    tags.every((tag) => row.tags.includes(tag)) &&
    (wanted === '' || [row.deviceId, row.name, ...row.tags].some((one) => one.toLowerCase().includes(wanted)))
  );
}

const stateRank: Record<PresenceWord, number> = { stale: 0, offline: 1, 'never seen': 2, online: 4 };

/** Rows in the order that the viewer asks for; ties by id. The order by state puts first what needs attention. */
export function sorted(rows: readonly DeviceRow[], { column, descending }: Sort, groupKey: string): DeviceRow[] {
  const sign = descending ? -1 : 1;
  const keys: Record<string, (row: DeviceRow) => number | string | undefined> = {
    state: (row) => (row.state === 'online' && needsAttention(row) ? 3 : stateRank[row.state]),
    device: (row) => row.deviceId,
    name: (row) => row.name,
    group: (row) => tagValue(row.tags, groupKey),
    last: (row) => row.lastSeenAt,
    rate: (row) => row.perSecond,
    complete: (row) => row.share,
    note: (row) => noteOf(row).text,
  };
  const keyOf = keys[column] ?? keys['state']!;
  const keyed = rows.map((row) => ({ row, key: keyOf(row) }));
  keyed.sort((a, b) => sign * compare(a.key, b.key) || compare(a.row.deviceId, b.row.deviceId));
  return keyed.map(({ row }) => row);
}

function compare(a: number | string | undefined, b: number | string | undefined): number {
  if (a === b) return 0;
  // What is not known comes last, in both directions it is at least together.
  if (a === undefined || a === '') return 1;
  if (b === undefined || b === '') return -1;
  return a < b ? -1 : 1;
}

/** The keys of tags such as `depot:lyon-est`, the most frequent first. */
export function tagKeys(rows: Iterable<{ readonly tags: readonly string[] }>): string[] {
  const found = new Map<string, number>();
  for (const { tags } of rows)
    for (const tag of tags) if (tag.includes(':')) count1(found, tag.slice(0, tag.indexOf(':')));
  return [...found].toSorted((a, b) => b[1] - a[1] || compare(a[0], b[0])).map(([key]) => key);
}

function count1(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** The value of a tag: `lyon-est` of `depot:lyon-est`. */
export function tagValue(tags: readonly string[], key: string): string {
  return tags.find((tag) => tag.startsWith(`${key}:`))?.slice(key.length + 1) ?? '';
}

/** `lyon-est` as a name: `Lyon-Est`. */
export function asName(value: string): string {
  return value.replace(/(^|[-\s])(\p{Ll})/gu, (text) => text.toUpperCase());
}

export function rowsCsv(rows: readonly DeviceRow[]): string {
  const head = csvLine([
    'deviceId',
    'name',
    'type',
    'state',
    'since',
    'lastSeenAt',
    'complete24h',
    'missing',
    'deadLetters',
    'tags',
    'note',
  ]);
  const time = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());
  return (
    head +
    rows
      .map((row) =>
        csvLine([
          row.deviceId,
          row.name,
          row.type,
          row.state,
          time(row.since),
          time(row.lastSeenAt),
          row.share,
          row.missing,
          row.deadLetters,
          row.tags.join(' '),
          noteOf(row).text,
        ]),
      )
      .join('')
  );
}

function timeOf(text: string | null | undefined): number | undefined {
  return text === null || text === undefined ? undefined : Date.parse(text);
}
