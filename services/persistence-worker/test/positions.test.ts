import { setTimeout as sleep } from 'node:timers/promises';
import { isolatedHeader } from '@fleetwire/broker/retry-headers';
import { queues } from '@fleetwire/broker/topology';
import { encodePosition, positionHeader } from '@fleetwire/contracts/envelope-position';
import { readPositions } from '@fleetwire/store/positions/read-positions';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { type Harness, envelope, readings, untilEmpty, workerHarness } from './harness.ts';

const retryDelaysMs = { '10s': 300, '1m': 300, '10m': 300 };
/** Postgres cannot store NUL in a text. */
const poisoned = { metrics: { text: 'a\u0000b' } };

function at(instanceId: string, number: number, part = ''): { headers: Record<string, unknown> } {
  return { headers: { [positionHeader]: encodePosition({ instanceId, number, part }) } };
}

async function settledOf({ pool }: Harness, instanceId: string): Promise<number | undefined> {
  return (await readPositions(pool)).settled[instanceId];
}

/** Postgres refuses readings with seq 7 for a reason that the failure policy does not know. */
async function refuseSeven(harness: Harness): Promise<void> {
  await harness.rows(`create function refuse() returns trigger language plpgsql as $$
    begin if new.seq = 7 then raise exception 'not today'; end if; return new; end $$`);
  await harness.rows('create trigger refuse before insert on readings for each row execute function refuse()');
}

describe('the settled position of an edge', () => {
  it('never passes an envelope with a reading whose fate is open, and reaches the end, through cuts, retries and rejected readings', async () => {
    const harness = await workerHarness({ limits: { retryDelaysMs } });
    await refuseSeven(harness);
    await harness.worker({ BATCH_READINGS_MAX: '40' });
    const total = 120;
    /** Readings of each envelope that will be stored, by number. */
    const storable = new Map<number, number>();
    const publishing = (async () => {
      for (let number = 1; number <= total; number += 1) {
        const deviceId = `n-${number}`;
        // In order: refused for ever, refused at first, dead-lettered in part, unreadable, and stored.
        if (number % 40 === 7) await harness.publish(envelope(readings(deviceId, 7)), at('edge', number));
        else if (number % 20 === 11)
          await harness.publish(
            envelope(readings(deviceId, 4, ({ seq }) => (seq === 2 ? poisoned : {}))),
            at('edge', number),
          );
        else if (number % 20 === 3) await harness.publish(Buffer.from('no JSON'), at('edge', number));
        else await harness.publish(envelope(readings(deviceId, 6)), at('edge', number));
        storable.set(number, number % 40 === 7 ? 6 : number % 20 === 11 ? 3 : number % 20 === 3 ? 0 : 6);
        if (number % 10 === 0) await sleep(5);
      }
    })();

    const look = async () => {
      const client = await harness.pool.connect();
      try {
        await client.query('begin isolation level repeatable read');
        const { settled } = await readPositions(client);
        const { rows } = await client.query<{ device_id: string; n: number }>(
          'select device_id, count(*)::int as n from telemetry group by 1',
        );
        await client.query('commit');
        const stored = new Map(rows.map(({ device_id, n }) => [device_id, n]));
        for (let number = 1; number <= (settled['edge'] ?? 0); number += 1)
          expect([number, stored.get(`n-${number}`) ?? 0]).toEqual([number, storable.get(number)]);
        return settled['edge'] ?? 0;
      } finally {
        client.release();
      }
    };
    // A cut connection to the broker is how a message comes again whose transaction has been committed.
    for (let round = 0; round < 40; round += 1) {
      if (round % 4 === 1) harness.postgresProxy.cut();
      if (round % 4 === 3) harness.brokerProxy.cut();
      await look();
      await sleep(60);
    }
    await publishing;
    await eventually(async () => expect(await look()).toBe(total));
    await untilEmpty(harness);
  });

  it('waits for both halves of a split message, and for a message that the broker dead-letters', async () => {
    const harness = await workerHarness();
    await harness.worker();
    await harness.publish(envelope(readings('first', 2)), at('edge', 1));
    await harness.publish(envelope(readings('half', 2)), {
      headers: { ...at('edge', 2, '1').headers, [isolatedHeader]: true },
    });
    await harness.publish(envelope(readings('given-up', 2)), { ...at('edge', 3), queue: queues.dead });
    await eventually(async () => expect(await harness.stored('half')).toBe(2));
    await untilEmpty(harness);
    await eventually(async () => expect(await harness.deadLetters('given-up')).toHaveLength(2));
    expect(await settledOf(harness, 'edge')).toBe(1);
    for (const part of ['00', '01']) {
      expect(await settledOf(harness, 'edge')).toBe(1);
      await harness.publish(envelope(readings(`quarter-${part}`, 1)), {
        headers: { ...at('edge', 2, part).headers, [isolatedHeader]: true },
      });
      await eventually(async () => expect(await harness.stored(`quarter-${part}`)).toBe(1));
    }
    await eventually(async () => expect(await settledOf(harness, 'edge')).toBe(3));
  });

  it('does not concern envelopes of an older release, which have no number', async () => {
    const harness = await workerHarness();
    await harness.worker();
    await harness.publish(envelope(readings('old', 3)));
    await eventually(async () => expect(await harness.stored('old')).toBe(3));
    expect(await harness.rows('select * from envelopes where edge_key > 0')).toEqual([]);
  });
});
