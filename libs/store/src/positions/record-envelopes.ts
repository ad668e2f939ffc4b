import type { EnvelopePosition } from '@fleetwire/contracts/envelope-position';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { int4Array, int8Array, textArray } from '../binary-arrays.ts';
import { uncoveredTimes } from '../changes/uncovered-times.ts';
import { TwoGenerationCache } from '../two-generation-cache.ts';
import { numbersPerRowMax, registerEdge } from './edges.ts';
import { type EnvelopeTimes, type SettledEnvelope, unite } from './settled-envelope.ts';

const edgesCachedMax = 2_000;

/** Of readings that come without a whole envelope: edges count from 1. */
const noEdge = 0;

/** Consecutive numbers of an edge. */
interface Row {
  readonly edgeKey: number;
  readonly first: number;
  last: number;
  times: EnvelopeTimes | undefined;
}

/**
 * Enters settled envelopes: one row for consecutive numbers of an edge, so usually one row for a batch. The rows of a transaction say between
 * which times its readings lie: read-changes.ts finds them by that.
 */
export class EnvelopeRecorder {
  readonly #pool: pg.Pool;
  readonly #edgeKeys = new TwoGenerationCache<number>(edgesCachedMax);

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  /**
   * @param readings that the transaction stores
   * @returns the statement for that transaction; none without envelopes and readings
   */
  async statements(
    envelopes: readonly SettledEnvelope[],
    readings: readonly IdentifiedReading[] = [],
  ): Promise<pg.QueryConfig[]> {
    const rows = rowsOf(envelopes, await this.#keysOf(envelopes));
    const others = uncoveredTimes(
      readings,
      rows.map(({ times }) => times),
    );
    for (const times of others) rows.push({ edgeKey: noEdge, first: 0, last: 0, times });
    return rows.length === 0 ? [] : [insertEnvelopes(rows)];
  }

  /** Enters an envelope apart from its readings; a half of a split one is entered when all of that envelope are settled. */
  async record(envelope: SettledEnvelope): Promise<void> {
    const { position } = envelope;
    if (position.part === '') {
      for (const statement of await this.statements([envelope])) await this.#pool.query(statement);
      return;
    }
    const edgeKey = (await this.#keysOf([envelope])).get(position.instanceId)!;
    await recordPart(this.#pool, edgeKey, envelope);
  }

  /** Enters that an envelope is known and not settled: it comes again from a retry queue, and its edge is not closed before. */
  async recordOpen(position: EnvelopePosition): Promise<void> {
    const edgeKey = (await this.#keysOf([{ position }])).get(position.instanceId)!;
    await this.#pool.query(
      `insert into envelopes (edge_key, first, last, settled_at, received_max) values ($1, $2, $2, 'infinity', now())`,
      [edgeKey, position.number],
    );
  }

  async #keysOf(envelopes: readonly Pick<SettledEnvelope, 'position'>[]): Promise<Map<string, number>> {
    const keys = new Map<string, number>();
    for (const { position } of envelopes) {
      const { instanceId } = position;
      if (keys.has(instanceId)) continue;
      const key = this.#edgeKeys.get(instanceId) ?? (await registerEdge(this.#pool, instanceId));
      this.#edgeKeys.set(instanceId, key);
      keys.set(instanceId, key);
    }
    return keys;
  }
}

function rowsOf(envelopes: readonly SettledEnvelope[], keys: ReadonlyMap<string, number>): Row[] {
  const sorted = envelopes.map(({ position, times }) => ({
    edgeKey: keys.get(position.instanceId)!,
    number: position.number,
    times,
  }));
  sorted.sort((a, b) => a.edgeKey - b.edgeKey || a.number - b.number);
  const rows: Row[] = [];
  for (const { edgeKey, number, times } of sorted) {
    const row = rows.at(-1);
    if (row?.edgeKey === edgeKey && number <= row.last + 1 && number - row.first < numbersPerRowMax) {
      row.last = number;
      row.times = unite(row.times, times);
    } else rows.push({ edgeKey, first: number, last: number, times });
  }
  return rows;
}

function insertEnvelopes(rows: readonly Row[]): pg.QueryConfig {
  const times = (name: keyof EnvelopeTimes) =>
    textArray(rows.map((row) => (row.times === undefined ? null : new Date(row.times[name]).toISOString())));
  return {
    name: 'insert_envelopes',
    text: `
      insert into envelopes (edge_key, first, last, received_min, received_max, ts_min, ts_max)
      select n.edge_key, n.first, n.last, n.received_min::timestamptz, n.received_max::timestamptz, n.ts_min::timestamptz, n.ts_max::timestamptz
      from unnest($1::int4[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[])
        as n (edge_key, first, last, received_min, received_max, ts_min, ts_max)`,
    values: [
      int4Array(rows.map(({ edgeKey }) => edgeKey)),
      int8Array(rows.map(({ first }) => first)),
      int8Array(rows.map(({ last }) => last)),
      times('receivedMin'),
      times('receivedMax'),
      times('tsMin'),
      times('tsMax'),
    ],
  };
}

/** In one transaction, with the row of the edge locked: of two halves that are settled at the same time, the second sees the first. */
async function recordPart(
  pool: pg.Pool,
  edgeKey: number,
  { position: { number, part }, times }: SettledEnvelope,
): Promise<void> {
  const at = (name: keyof EnvelopeTimes) => (times === undefined ? null : new Date(times[name]).toISOString());
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query('begin');
    await client.query('select from edges where edge_key = $1 for update', [edgeKey]);
    await client.query(
      `insert into envelope_parts (edge_key, number, part, received_min, received_max, ts_min, ts_max)
       values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
      [edgeKey, number, part, at('receivedMin'), at('receivedMax'), at('tsMin'), at('tsMax')],
    );
    const { rows } = await client.query<{ part: string }>(
      'select part from envelope_parts where edge_key = $1 and number = $2',
      [edgeKey, number],
    );
    if (isWhole(new Set(rows.map((row) => row.part)))) {
      await client.query(
        `insert into envelopes (edge_key, first, last, received_min, received_max, ts_min, ts_max)
         select edge_key, number, number, min(received_min), max(received_max), min(ts_min), max(ts_max)
         from envelope_parts where edge_key = $1 and number = $2 group by edge_key, number`,
        [edgeKey, number],
      );
    }
    await client.query('commit');
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}

/** Whether settled parts make up the whole: a part is settled by itself, or by both of its halves. */
function isWhole(settled: ReadonlySet<string>, part = ''): boolean {
  if (settled.has(part)) return true;
  const isSplit = [...settled].some((one) => one.startsWith(part));
  return isSplit && isWhole(settled, `${part}0`) && isWhole(settled, `${part}1`);
}
