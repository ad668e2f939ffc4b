import type pg from 'pg';
import { closedUpTo, openEdges } from './edges.ts';

export interface Positions {
  /** Which database this is, and which of its timelines: positions of another one mean nothing here. */
  readonly installation: string;
  /** Keys of edges grow: an edge that is not known to a caller is newer than the answer in which this was as great as its key. */
  readonly edgesKnown: number;
  /** The key of each edge in `settled` and `closed`, by instance id. */
  readonly keys: Readonly<Record<string, number>>;
  /** By instance id, of each open edge: every number up to this is settled. */
  readonly settled: Readonly<Record<string, number>>;
  /** The last number of each edge that is closed: all its numbers are settled. */
  readonly closed: Readonly<Record<string, number>>;
  /** Every acknowledged reading that arrived before this time is stored, or a dead letter; epoch milliseconds. Null: not known. */
  readonly completeUntil: number | null;
  /** Numbers that edges have reported and that lie above their settled position. */
  readonly unsettled: number;
}

const completeUntilOf = `case when accounted_now >= last then numbered_before else complete_until end`;

/** The newest ones; an edge that closed before them is not known any more. */
const closedEdgesMax = 10_000;

/** The positions in the snapshot of the client's transaction. */
export async function readPositions(client: Pick<pg.ClientBase, 'query'>): Promise<Positions> {
  const { rows: open } = await client.query<{
    instance_id: string;
    edge_key: number;
    last: number;
    settled_now: number;
    complete_until: number | null;
  }>(`
    select instance_id, edge_key, last, settled_now, ${completeUntilOf} as complete_until
    from (${openEdges}) as o order by edge_key`);
  const { rows: closed } = await client.query<{ instance_id: string; edge_key: number; settled: number }>(
    `select instance_id, edge_key, ${closedUpTo} as settled from edges e where closed_at is not null order by edge_key desc limit ${closedEdgesMax}`,
  );
  const { rows: installations } = await client.query<{ installation: string; known: number; now: number }>(`
    select s.system_identifier || ':' || c.timeline_id as installation, coalesce((select max(edge_key) from edges), 0) as known, now()
    from pg_control_system() s, pg_control_checkpoint() c`);
  const { installation, known, now } = installations[0]!;
  const until = open.map(({ complete_until: one }) => one);
  return {
    installation,
    edgesKnown: known,
    keys: Object.fromEntries([...open, ...closed].map((edge) => [edge.instance_id, edge.edge_key])),
    settled: Object.fromEntries(open.map((edge) => [edge.instance_id, edge.settled_now])),
    closed: Object.fromEntries(closed.map((edge) => [edge.instance_id, edge.settled])),
    completeUntil: known === 0 || until.includes(null) ? null : Math.min(now, ...(until as number[])),
    unsettled: open.reduce((sum, { last, settled_now: settled }) => sum + Math.max(0, last - settled), 0),
  };
}

export interface Completeness {
  /** Every acknowledged reading that arrived before this time is stored, or a dead letter; epoch milliseconds. Null: not known. */
  readonly completeUntil: number | null;
  /** Edges that have not said yet up to which number everything is theirs; null where no edge is known at all. */
  readonly silentEdges: number | null;
}

/** The same `completeUntil` alone. */
export async function readCompleteness(client: Pick<pg.ClientBase, 'query'>): Promise<Completeness> {
  const { rows } = await client.query<{ until: number; silent: number; isKnown: boolean }>({
    name: 'completeness',
    text: `
      select least(now(), min(until)) as until, count(*) filter (where until is null) as silent,
        exists (select from edges) as "isKnown"
      from (select ${completeUntilOf} as until from (${openEdges}) as o) as edges_open`,
  });
  const { until, silent, isKnown } = rows[0]!;
  return { completeUntil: isKnown && silent === 0 ? until : null, silentEdges: isKnown ? silent : null };
}
