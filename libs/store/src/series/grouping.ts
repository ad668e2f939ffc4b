import { type RawBuilder, sql } from 'kysely';
import type { SeriesQuery } from './series-query.ts';

/** Whether devices are grouped, and what `grp` is. */
export function grouping(query: SeriesQuery, relation: RawBuilder<unknown>) {
  if (query.groups === undefined) return { grp: sql`f.device_key`, from: sql`${relation} f` };
  const only = onlyGroup(query);
  return only === undefined
    ? { grp: sql`g.grp`, from: sql`${relation} f join groups g using (device_key)` }
    : { grp: sql`${sql.lit(only)}::int4`, from: sql`${relation} f` };
}

/** The number of the group where all devices are in one, each once: nothing has to be joined. */
export function onlyGroup({ deviceKeys, groups }: SeriesQuery): number | undefined {
  const [first] = groups?.numbers ?? [];
  if (groups === undefined || first === undefined || groups.deviceKeys.length !== deviceKeys.length) return undefined;
  if (groups.numbers.some((number) => number !== first)) return undefined;
  return new Set([...groups.deviceKeys, ...deviceKeys]).size === deviceKeys.length ? first : undefined;
}
