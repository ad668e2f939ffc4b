import { duration, interval } from '../../format.ts';
import type { Limit } from '../../metadata.ts';
import type { Sentence } from '../../sentences.ts';
import { hourAndMinute } from '../../times.ts';
import { withUnit } from '../../chart/chart-model.ts';
import { reasonText } from '../fleet/device-rows.ts';

export interface DeviceWords {
  readonly deviceId: string;
  readonly name: string | null | undefined;
  readonly presence:
    | { readonly status: 'online' | 'stale' | 'offline'; readonly reason: string; readonly since: string }
    | null
    | undefined;
  readonly expectedIntervalMs: number | null | undefined;
  readonly lastSeenAt: number | undefined;
  /** The newest value of the first metric that is shown. */
  readonly value: { readonly value: unknown; readonly unit: string } | undefined;
  readonly episode: Episode | undefined;
  readonly now: number;
}

/** The newest time over a limit in the range. */
export interface Episode {
  readonly from: number;
  readonly to: number;
  readonly isOpen: boolean;
  readonly side: 'above' | 'below';
  readonly limit: number;
  readonly unit: string;
}

/** `Reefer 388 is online at −18.1 °C. It was above −15 °C for 6 min from 13:50.` */
export function deviceSentence({
  deviceId,
  name,
  presence,
  expectedIntervalMs,
  lastSeenAt,
  value,
  episode,
  now,
}: DeviceWords): Sentence {
  const subject = name === null || name === undefined || name === '' ? deviceId : name;
  const at =
    value === undefined ? '' : typeof value.value === 'number' ? ` at ${withUnit(value.value, value.unit, 1)}` : '';
  const over =
    episode === undefined
      ? ''
      : episode.isOpen
        ? ` It is ${episode.side} ${withUnit(episode.limit, episode.unit)} for ${duration(episode.to - episode.from)}.`
        : ` It was ${episode.side} ${withUnit(episode.limit, episode.unit)} for ${duration(episode.to - episode.from)} from ${hourAndMinute(episode.from)}.`;
  const tone = episode?.isOpen === true ? 'crit' : 'none';
  if (presence === null || presence === undefined)
    return { tone, text: `${subject} has not connected yet.${over}`, detail: '' };
  switch (presence.status) {
    case 'online':
      return { tone, text: `${subject} is online${at}.${over}`, detail: '' };
    case 'stale': {
      const silent = lastSeenAt === undefined ? '' : ` for ${duration(now - lastSeenAt)}`;
      const usual =
        expectedIntervalMs === null || expectedIntervalMs === undefined
          ? ''
          : `, usually every ${interval(expectedIntervalMs)}`;
      return {
        tone: tone === 'crit' ? tone : 'warn',
        text: `${subject} is silent${silent}${usual}.${over}`,
        detail: '',
      };
    }
    case 'offline': {
      const reason = reasonText(presence.reason);
      return {
        tone,
        text: `${subject} is offline for ${duration(now - Date.parse(presence.since))}${reason === '' ? '' : `, ${reason}`}.${over}`,
        detail: '',
      };
    }
  }
}

/** The newest time in which a series is over its limit. */
export function newestEpisode(
  t: readonly number[],
  values: readonly (number | null)[],
  bucketMs: number,
  limit: Limit | undefined,
  unit: string,
): Episode | undefined {
  const sides = [
    limit?.above === undefined ? undefined : (['above', limit.above] as const),
    limit?.below === undefined ? undefined : (['below', limit.below] as const),
  ];
  let newest: Episode | undefined;
  for (const side of sides) {
    if (side === undefined) continue;
    const [word, bound] = side;
    let start: number | undefined;
    let end = 0;
    const close = (isOpen: boolean) => {
      if (start !== undefined && (newest === undefined || end > newest.to))
        newest = { from: start, to: end, isOpen, side: word, limit: bound, unit };
      start = undefined;
    };
    for (const [index, value] of values.entries()) {
      if (value === null) continue;
      if (word === 'above' ? value > bound : value < bound) {
        start ??= t[index]!;
        end = t[index]! + bucketMs;
      } else close(false);
    }
    close(true);
  }
  return newest;
}
