import { openDatabase } from '@fleetwire/store/database';
import type { Promises } from './promises.ts';

export interface Audit {
  readonly acked: number;
  /** Acknowledged, and in the dead-letter store instead of the readings. */
  readonly deadLettered: number;
  /** Acknowledged and in no table: `device (epoch E): 3, 5`. */
  readonly lost: readonly string[];
  readonly lostReadings: number;
  /** Stored more than once. */
  readonly repeated: readonly string[];
}

const statementTimeoutMs = 120_000;
const shownMax = 20;

/** Compares what was acknowledged with what the tables hold. */
export async function auditPromises(databaseUrl: string, promises: Promises): Promise<Audit> {
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs, applicationName: 'fuzz' });
  const numbers = async (text: string, values: readonly unknown[]) =>
    (await database.pool.query<{ seq: number | string; copies: number }>(text, [...values])).rows;
  const audit = { acked: 0, deadLettered: 0, lost: [] as string[], lostReadings: 0, repeated: [] as string[] };
  try {
    for (const { deviceId, epoch, acked } of promises.streams) {
      const stored = await numbers(
        `select seq, count(*)::int4 as copies from readings where (device_key, stream_key) in (
           select device_key, stream_key from streams join devices using (device_key) where device_id = $1 and epoch = $2)
         group by seq`,
        [deviceId, epoch],
      );
      const dead = await numbers('select seq, 1 as copies from dead_letters where device_id = $1 and epoch = $2', [
        deviceId,
        epoch,
      ]);
      const isStored = new Set(stored.map(({ seq }) => Number(seq)));
      const isDead = new Set(dead.map(({ seq }) => Number(seq)));
      const missing = [...acked].filter((seq) => !isStored.has(seq));
      const lost = missing.filter((seq) => !isDead.has(seq));
      const repeated = stored.filter(({ copies }) => copies > 1).map(({ seq }) => Number(seq));
      const named = (seqs: readonly number[]) => `${deviceId} (epoch ${epoch}): ${seqs.slice(0, shownMax).join(', ')}`;
      audit.acked += acked.size;
      audit.deadLettered += missing.length - lost.length;
      audit.lostReadings += lost.length;
      if (lost.length > 0) audit.lost.push(named(lost));
      if (repeated.length > 0) audit.repeated.push(named(repeated));
    }
    return audit;
  } finally {
    await database.close();
  }
}
