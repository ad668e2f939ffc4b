import { isDeepStrictEqual } from 'node:util';
import type { Database } from '@fleetwire/store/database';
import type { SelectedDevice } from '@fleetwire/store/series/select-devices';
import type { SeriesCatalog } from '@fleetwire/store/series/series-catalog';
import { LRUCache } from 'lru-cache';
import type { Question } from './question.ts';

/** What a plan depends on. */
export interface Known {
  readonly devices: readonly SelectedDevice[];
  readonly catalog: SeriesCatalog;
}

const questionsMax = 1_000;
/** Larger catalogs are not worth their memory. */
const positionsMax = 1_000;
const ofDatabases = new WeakMap<Database, LRUCache<string, Known>>();

/**
 * What was known when the same metrics of the same device were asked for last. A plan that is made with it, together with asking what is known now,
 * is good where {@link isStillKnown}: so a question takes one round trip less. Undefined for several devices.
 */
export function lastKnown(database: Database, question: Question): Known | undefined {
  const key = keyOf(question);
  return key === undefined ? undefined : ofDatabases.get(database)?.get(key);
}

export function rememberKnown(database: Database, question: Question, known: Known): void {
  const key = keyOf(question);
  const positions = [...known.catalog.positions.values()].reduce((sum, { length }) => sum + length, 0);
  if (key === undefined || positions > positionsMax) return;
  const remembered = ofDatabases.get(database) ?? new LRUCache<string, Known>({ max: questionsMax });
  ofDatabases.set(database, remembered);
  remembered.set(key, known);
}

export function isStillKnown(known: Known, now: Known): boolean {
  return isDeepStrictEqual(known, now);
}

function keyOf({ selection: { devices, pattern, tag, type }, metrics, where }: Question): string | undefined {
  if (devices?.length !== 1 || (pattern ?? tag ?? type) !== undefined) return undefined;
  return JSON.stringify([devices[0], metrics, where.map(({ metric }) => metric)]);
}
