import { isDeepStrictEqual } from 'node:util';
import { RangeSet } from '../fleet/range-set.ts';
import { openDatabase } from '@fleetwire/store/database';
import type { Samples } from './samples.ts';

/** The readings of one device's epoch in Postgres. */
export interface StoredStream {
  readonly deviceId: string;
  readonly epoch: string;
  readonly stored: RangeSet;
  /** Sequence numbers with more than one row. */
  readonly storedTwice: RangeSet;
  readonly deadLettered: RangeSet;
}

export interface Evidence {
  readonly streams: readonly StoredStream[];
  /** Dead letters by reason and error. */
  readonly deadLetters: readonly { readonly reason: string; readonly error: string; readonly count: number }[];
  /** Dead letters that name no reading. */
  readonly namelessDeadLetters: number;
  readonly samplesCompared: number;
  readonly alteredSamples: readonly string[];
}

const statementTimeoutMs = 120_000;

/** Reads what is stored directly from the tables, not through the services under test. */
export async function gatherEvidence(databaseUrl: string, samples: Samples): Promise<Evidence> {
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs, applicationName: 'chaos' });
  const rows = async <Row extends object>(text: string, values: readonly unknown[] = []) =>
    (await database.pool.query<Row>(text, [...values])).rows;
  try {
    const streams = new Map<string, StoredStream>();
    const streamOf = (deviceId: string, epoch: string) => {
      const key = `${deviceId} ${epoch}`;
      const known = streams.get(key) ?? {
        deviceId,
        epoch,
        stored: new RangeSet(),
        storedTwice: new RangeSet(),
        deadLettered: new RangeSet(),
      };
      streams.set(key, known);
      return known;
    };
    const known = await rows<{ stream_key: number; device_key: number; device_id: string; epoch: string }>(
      'select stream_key, device_key, device_id, epoch from streams join devices using (device_key)',
    );
    for (const { stream_key, device_key, device_id, epoch } of known) {
      const { stored, storedTwice } = streamOf(device_id, epoch);
      const numbers = await rows<{ seq: number; copies: number }>(
        'select seq, count(*)::int4 as copies from readings where device_key = $1 and stream_key = $2 group by seq order by seq',
        [device_key, stream_key],
      );
      for (const { seq, copies } of numbers) {
        stored.add(seq);
        if (copies > 1) storedTwice.add(seq);
      }
    }
    const dead = await rows<{ device_id: string; epoch: string; seq: number }>(
      'select device_id, epoch, seq from dead_letters where device_id is not null and epoch is not null and seq is not null',
    );
    for (const { device_id, epoch, seq } of dead) streamOf(device_id, epoch).deadLettered.add(seq);
    const deadLetters = await rows<{ reason: string; error: string; count: number }>(
      `select reason, error_code || ': ' || error_message as error, count(*)::int4 as count from dead_letters group by 1, 2`,
    );
    const [nameless] = await rows<{ count: number }>(
      'select count(*)::int4 as count from dead_letters where device_id is null or epoch is null or seq is null',
    );

    const alteredSamples: string[] = [];
    let samplesCompared = 0;
    for (const { deviceId, epoch, seq, text } of samples) {
      const [row] = await rows<{ ts: number; metrics: object }>(
        `select ts, metrics from telemetry where device_id = $1 and epoch = $2 and seq = $3 limit 1`,
        [deviceId, epoch, seq],
      );
      if (row === undefined) continue;
      samplesCompared += 1;
      if (!isDeepStrictEqual({ ts: row.ts, metrics: row.metrics }, JSON.parse(text)))
        alteredSamples.push(`${deviceId} (epoch ${epoch}) ${seq}: sent ${text}, stored ${JSON.stringify(row)}`);
    }
    return {
      streams: [...streams.values()],
      deadLetters,
      namelessDeadLetters: nameless?.count ?? 0,
      samplesCompared,
      alteredSamples,
    };
  } finally {
    await database.close();
  }
}
