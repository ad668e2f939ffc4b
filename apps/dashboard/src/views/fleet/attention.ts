import { count, duration, plural } from '../../format.ts';
import { moment } from '../../times.ts';
import { type DeviceRow, asName, tagValue } from './device-rows.ts';

/** One cause that an operator should look at; never one device of many. Its link shows what it is about. */
export interface Attention {
  readonly mark: 'warn' | 'crit' | 'off';
  readonly text: string;
  readonly note: string;
  readonly href: string;
}

export interface AttentionFacts {
  readonly rows: readonly DeviceRow[];
  /** The tag by which devices are grouped, such as `depot`. */
  readonly groupKey: string | undefined;
  readonly deadLetters?:
    | { readonly open: number; readonly groups: number; readonly newestAt: number | undefined }
    | undefined;
  readonly behindMs?: number | undefined;
  readonly drainMs?: number | undefined;
  /** Edges that ended without their last report. */
  readonly silentEdges?: readonly { readonly instanceId: string; readonly lastReportedAt: string }[] | undefined;
  readonly missing?: { readonly readings: number; readonly acknowledged: number } | undefined;
  readonly now: number;
}

const behindNoticeableMs = 5_000;

export function attentionList(facts: AttentionFacts): Attention[] {
  const { rows, deadLetters, behindMs, drainMs, silentEdges = [], missing, now } = facts;
  const gaps = rows.filter((row) => row.missing > 0);
  const ahead = rows.filter((row) => row.aheadMs > 0);
  const offline = rows.filter((row) => row.state === 'offline');
  const list: (Attention | undefined)[] = [
    missing !== undefined && missing.readings > missing.acknowledged
      ? { mark: 'crit', text: `${plural(missing.readings, 'reading')} missing`, note: 'last hour', href: '/pipeline' }
      : undefined,
    ...silentGroups(facts),
    deadLetters !== undefined && deadLetters.open > 0
      ? {
          mark: 'warn',
          text: plural(deadLetters.open, 'open dead letter'),
          note: `${plural(deadLetters.groups, 'group')}${deadLetters.newestAt === undefined ? '' : ` · ${duration(now - deadLetters.newestAt)} ago`}`,
          href: '/dead-letters',
        }
      : undefined,
    behindMs !== undefined && behindMs >= behindNoticeableMs
      ? {
          mark: 'warn',
          text: `History is ${duration(behindMs)} behind`,
          note: drainMs === undefined ? '' : `drains in ${duration(drainMs)}`,
          href: '/pipeline',
        }
      : undefined,
    ...silentEdges.map(({ instanceId, lastReportedAt }): Attention => ({
      mark: 'warn',
      text: `${instanceId} ended without last report`,
      note: moment(lastReportedAt, now),
      href: '/pipeline',
    })),
    gaps.length > 0
      ? {
          mark: 'warn',
          text: `${plural(gaps.length, 'device has', 'devices have')} gaps: ${count(gaps.reduce((sum, row) => sum + row.missing, 0))} missing`,
          note: '24 h',
          href: linkTo(gaps, 'presence=attention'),
        }
      : undefined,
    ahead.length > 0
      ? {
          mark: 'warn',
          text: `${plural(ahead.length, 'clock')} ahead, up to ${duration(Math.max(...ahead.map((row) => row.aheadMs)))}`,
          note: 'newest reading',
          href: linkTo(ahead, 'presence=attention'),
        }
      : undefined,
    offline.length > 0 ? offlineLine(offline, now) : undefined,
  ];
  return list.filter((one) => one !== undefined);
}

/** Silent devices by type and group, the largest first: a silent depot is one line. */
function silentGroups({ rows, groupKey, now }: AttentionFacts): Attention[] {
  const groups = new Map<string, DeviceRow[]>();
  for (const row of rows) {
    if (row.state !== 'stale') continue;
    const key = `${row.type}\u0000${groupKey === undefined ? '' : tagValue(row.tags, groupKey)}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  const several = [...groups].toSorted((a, b) => b[1].length - a[1].length);
  const shown = several.slice(0, 3).map(([key, members]): Attention => {
    const [type, value] = key.split('\u0000') as [string, string];
    const first = members[0]!;
    const longest = Math.max(...members.map((row) => now - (row.lastSeenAt ?? row.since ?? now)));
    const place = value === '' ? '' : ` at ${asName(value)}`;
    const text =
      members.length === 1
        ? `${first.deviceId}${place} is silent`
        : `${plural(members.length, type === '' ? 'device' : type)}${place} are silent`;
    const query = [
      'presence=stale',
      ...(type === '' ? [] : [`type=${encodeURIComponent(type)}`]),
      ...(value === '' ? [] : [`tag=${encodeURIComponent(`${groupKey}:${value}`)}`]),
    ];
    return { mark: 'warn', text, note: `${duration(longest)} · stale`, href: linkTo(members, query.join('&')) };
  });
  const rest = several.slice(3).flatMap(([, members]) => members);
  if (rest.length > 0)
    shown.push({
      mark: 'warn',
      text: `${plural(rest.length, 'more device')} silent`,
      note: 'stale',
      href: '/?presence=stale',
    });
  return shown;
}

function offlineLine(offline: readonly DeviceRow[], now: number): Attention {
  const longest = offline.reduce((a, b) => ((a.since ?? now) <= (b.since ?? now) ? a : b));
  return {
    mark: 'off',
    text:
      offline.length === 1
        ? `${longest.deviceId} is offline`
        : `${plural(offline.length, 'device')} offline, ${longest.deviceId} longest`,
    note: longest.since === undefined ? '' : duration(now - longest.since),
    href: linkTo(offline, 'presence=offline'),
  };
}

function linkTo(rows: readonly DeviceRow[], query: string): string {
  return rows.length === 1 ? `/devices/${encodeURIComponent(rows[0]!.deviceId)}` : `/?${query}`;
}
