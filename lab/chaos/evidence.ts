import { isDeepStrictEqual } from 'node:util';
import { openDatabase } from '@fleetwire/store/database';
import type { DeviceJournal } from './device-journal.ts';

/** The readings of one device's epoch in Postgres, by sequence number. */
export interface StoredStream {
  readonly deviceId: string;
  readonly epoch: string;
  readonly stored: Set<number>;
  /** Sequence numbers with more than one row. */
  readonly storedTwice: Set<number>;
  /** In the view that applications read. */
  readonly inView: Set<number>;
  /** Dead letters that were not stored by a replay. */
  readonly deadLettered: Set<number>;
  /** Dead letters that a replay has stored, by their status. */
  readonly replayed: Set<number>;
}

export interface Evidence {
  readonly streams: readonly StoredStream[];
  /** Dead letters by reason and error. */
  readonly deadLetters: readonly { readonly reason: string; readonly error: string; readonly count: number }[];
  /** Dead letters that name no reading. */
  readonly namelessDeadLetters: number;
  readonly contentsCompared: number;
  readonly altered: readonly string[];
}

const statementTimeoutMs = 120_000;

/** Reads what is stored directly from Postgres, not through the services under test, and compares the content of every reading. */
export async function gatherEvidence(databaseUrl: string, journals: readonly DeviceJournal[]): Promise<Evidence> {
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs, applicationName: 'chaos' });
  const rows = async <Row extends object>(text: string, values: readonly unknown[] = []) =>
    (await database.pool.query<Row>(text, [...values])).rows;
  try {
    const journalOf = new Map(journals.map((journal) => [keyOf(journal), journal]));
    const streams = new Map<string, StoredStream>();
    const streamOf = (deviceId: string, epoch: string) => {
      const key = keyOf({ deviceId, epoch });
      const known = streams.get(key) ?? emptyStream({ deviceId, epoch });
      streams.set(key, known);
      return known;
    };
    const altered: string[] = [];
    let contentsCompared = 0;
    const known = await rows<{ stream_key: number; device_key: number; device_id: string; epoch: string }>(
      'select stream_key, device_key, device_id, epoch from streams join devices using (device_key)',
    );
    for (const { stream_key, device_key, device_id, epoch } of known) {
      const { stored, storedTwice, inView } = streamOf(device_id, epoch);
      const journal = journalOf.get(keyOf({ deviceId: device_id, epoch }));
      const numbers = await rows<{ seq: number; copies: number }>(
        'select seq, count(*)::int4 as copies from readings where device_key = $1 and stream_key = $2 group by seq',
        [device_key, stream_key],
      );
      for (const { seq, copies } of numbers) {
        stored.add(seq);
        if (copies > 1) storedTwice.add(seq);
      }
      const contents = await rows<{ seq: number; ts: number; metrics: object }>(
        'select seq, ts, metrics from telemetry where device_id = $1 and epoch = $2',
        [device_id, epoch],
      );
      for (const { seq, ts, metrics } of contents) {
        inView.add(seq);
        const sent = journal?.entries.get(seq);
        // The audit names readings that are stored and were never sent.
        if (sent === undefined) continue;
        contentsCompared += 1;
        if (!isDeepStrictEqual({ ts, metrics }, JSON.parse(sent.text)))
          altered.push(
            `${device_id} (epoch ${epoch}) ${seq}: sent ${sent.text}, stored ${JSON.stringify({ ts, metrics })}`,
          );
      }
    }
    const dead = await rows<{ device_id: string; epoch: string; seq: number; status: string }>(
      'select device_id, epoch, seq, status from dead_letters where device_id is not null and epoch is not null and seq is not null',
    );
    for (const { device_id, epoch, seq, status } of dead) {
      const { deadLettered, replayed } = streamOf(device_id, epoch);
      (status === 'stored' ? replayed : deadLettered).add(seq);
    }
    const deadLetters = await rows<{ reason: string; error: string; count: number }>(
      `select reason, error_code || ': ' || error_message as error, count(*)::int4 as count from dead_letters group by 1, 2`,
    );
    const [nameless] = await rows<{ count: number }>(
      'select count(*)::int4 as count from dead_letters where device_id is null or epoch is null or seq is null',
    );
    return {
      streams: [...streams.values()],
      deadLetters,
      namelessDeadLetters: nameless?.count ?? 0,
      contentsCompared,
      altered,
    };
  } finally {
    await database.close();
  }
}

export function keyOf({ deviceId, epoch }: { deviceId: string; epoch: string }): string {
  return `${deviceId} ${epoch}`;
}

export function emptyStream({ deviceId, epoch }: { deviceId: string; epoch: string }): StoredStream {
  return {
    deviceId,
    epoch,
    stored: new Set(),
    storedTwice: new Set(),
    inView: new Set(),
    deadLettered: new Set(),
    replayed: new Set(),
  };
}
