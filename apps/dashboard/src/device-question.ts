import type { Sort } from './table.tsx';

export interface DeviceFilter {
  readonly text: string;
  readonly type: string;
  readonly tags: readonly string[];
  readonly presence: string;
}

/** What the table of Fleet shows: its address carries it. */
export interface DeviceQuestion {
  readonly filter: DeviceFilter;
  readonly sort: Sort;
}

const attentionFirst: Sort = { column: 'state', descending: false };

/** @param query of the address */
export function deviceQuestion(query: Readonly<Record<string, string>>): DeviceQuestion {
  const { q = '', type = '', tag = '', presence = '', sort = '' } = query;
  return {
    filter: { text: q, type, tags: tag === '' ? [] : tag.split(','), presence },
    sort: sort === '' ? attentionFirst : { column: sort.replace(/^-/, ''), descending: sort.startsWith('-') },
  };
}

const textMax = 128;
const sortOf: Readonly<Record<string, 'deviceId' | 'name' | 'lastSeenAt' | 'presence'>> = {
  device: 'deviceId',
  name: 'name',
  last: 'lastSeenAt',
  state: 'presence',
};
const presences = ['online', 'stale', 'offline'] as const;

/**
 * The question to the API that comes closest. The API finds no tag by a part of its name, and does not know which device needs attention for its
 * gaps or dead letters.
 */
export function firstQuery({ filter: { text, type, tags, presence }, sort: { column, descending } }: DeviceQuestion) {
  const q = text.trim().slice(0, textMax);
  const sort = sortOf[column];
  const known = presences.find((one) => one === presence);
  return {
    ...(q !== '' && { q }),
    ...(type !== '' && { type }),
    ...(tags.length > 0 && { tag: [...tags] }),
    ...(known !== undefined && { presence: known }),
    sort: sort === undefined ? 'presence' : descending ? (`-${sort}` as const) : sort,
  };
}
