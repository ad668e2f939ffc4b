import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { queues } from '@fleetwire/broker/topology';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { manageBroker } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { type Harness, envelope, metric, readings, untilEmpty, workerHarness } from './harness.ts';

/** Consumes a message and closes the channel, as the broker sees a crashing worker: it counts one more delivery. */
async function consumeAndCrash(harness: Harness): Promise<void> {
  const channel = await harness.connection.openChannel();
  const taken = Promise.withResolvers<void>();
  await channel.consume(queues.persist, () => taken.resolve());
  await taken.promise;
  const closed = once(channel, 'close');
  await channel.close();
  await closed;
}

describe('while Postgres is unavailable, the worker', () => {
  it('holds its messages without requeueing or dead-lettering any, and stores them when Postgres is back', async () => {
    const harness = await workerHarness();
    const worker = await harness.worker({ PREFETCH: '5' });
    await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));
    harness.postgresProxy.refuse();
    for (let n = 0; n < 20; n += 1) await harness.publish(envelope(readings(`away-${n}`, 10)));
    await eventually(async () => expect(await metric(worker, 'fleetwire_worker_holding')).toBe(1));
    // Five are prefetched and held, neither requeued in a loop nor dead-lettered.
    await eventually(async () => expect(await harness.waiting()).toBe(15));
    harness.postgresProxy.resume();
    await eventually(async () =>
      expect(await harness.rows('select count(*)::int as n from readings')).toEqual([{ n: 200 }]),
    );
    await untilEmpty(harness);
    expect(await harness.rows('select * from dead_letters')).toEqual([]);
    await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));
  });

  it('detects a connection without answers, and stores the held readings over a new one', async () => {
    const harness = await workerHarness();
    const worker = await harness.worker({ STATEMENT_TIMEOUT_MS: '500' });
    await harness.publish(envelope(readings('before', 1)));
    await eventually(async () => expect(await harness.stored('before')).toBe(1));
    harness.postgresProxy.stall();
    await harness.publish(envelope(readings('half-open', 10)));
    await eventually(async () => expect(await metric(worker, 'fleetwire_worker_holding')).toBe(1));
    harness.postgresProxy.refuse();
    harness.postgresProxy.resume();
    await eventually(async () => expect(await harness.stored('half-open')).toBe(10));
    expect(await harness.rows('select * from dead_letters')).toEqual([]);
  });

  it('stores each reading once while connections are cut repeatedly, also during commits', async () => {
    const harness = await workerHarness();
    await harness.worker({ BATCH_READINGS_MAX: '50' });
    const publishing = (async () => {
      for (let n = 0; n < 100; n += 1) await harness.publish(envelope(readings(`cut-${n}`, 20)));
    })();
    // The pause adapts to the machine: often enough to hit commits, seldom enough for some transactions to succeed.
    let pauseMs = 37;
    for (let stored = 0, before = 0; stored <= 500; before = stored) {
      harness.postgresProxy.cut();
      await sleep(pauseMs);
      stored = (await harness.rows<{ n: number }>('select count(*)::int as n from readings'))[0]!.n;
      if (stored === before) pauseMs *= 1.2;
    }
    await publishing;
    await eventually(async () =>
      expect(await harness.rows('select count(*)::int as n from readings')).toEqual([{ n: 2_000 }]),
    );
    expect(await harness.rows('select stream_key, seq from readings group by 1, 2 having count(*) > 1')).toEqual([]);
    await untilEmpty(harness);
  });
});

describe('a message that was delivered many times without an acknowledgement', async () => {
  const harness = await workerHarness();

  it('is retried alone and stored when it causes no crash, because a crashing worker may merely have prefetched it', async () => {
    await harness.publish(envelope(readings('redelivered', 8)));
    for (let crash = 0; crash < 8; crash += 1) await consumeAndCrash(harness);
    await harness.worker();
    await eventually(async () => expect(await harness.stored('redelivered')).toBe(8));
    await untilEmpty(harness);
    expect(await harness.deadLetters('redelivered')).toEqual([]);
    // The record of the attempt is deleted after the commit.
    await eventually(async () => expect(await harness.rows('select * from suspects')).toEqual([]));
  });
});

describe('a message that may be poison, when its worker ends again and again while Postgres is unavailable', async () => {
  const harness = await workerHarness();

  it('is stored, because such attempts say nothing about the message', async () => {
    // Afterwards there is a partition, and nothing but the write of the reading waits for the lock.
    const earlier = await harness.worker();
    await harness.publish(envelope(readings('earlier', 1)));
    await eventually(async () => expect(await harness.stored('earlier')).toBe(1));
    await earlier.stop();
    await harness.publish(envelope(readings('held', 1)));
    for (let crash = 0; crash < 4; crash += 1) await consumeAndCrash(harness);
    const blocking = await harness.blockReadings();
    const isWriting = async () =>
      (
        await harness.rows(
          `select from pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into readings%' and datname = current_database()`,
        )
      ).length === 1;
    for (let end = 1; end <= 2; end += 1) {
      const worker = await harness.worker({ DRAIN_TIMEOUT_MS: '500' });
      await eventually(async () => expect(await harness.waiting()).toBe(0));
      if (end > 1) await eventually(async () => expect(await metric(worker, 'fleetwire_worker_holding')).toBe(1));
      harness.postgresProxy.resume();
      await eventually(async () => expect(await isWriting()).toBe(true));
      harness.postgresProxy.refuse();
      await eventually(async () => expect(await metric(worker, 'fleetwire_worker_holding')).toBe(1));
      // For the record of the attempt, which stays in Postgres, this is what a SIGKILL is.
      await worker.stop();
      await eventually(async () => expect(await isWriting()).toBe(false));
      await eventually(async () => expect(await harness.waiting()).toBe(1));
    }
    await harness.worker();
    await eventually(async () => expect(await harness.waiting()).toBe(0));
    await blocking.release();
    harness.postgresProxy.resume();
    await eventually(async () => expect(await harness.stored('held')).toBe(1));
    await untilEmpty(harness);
    expect(await harness.deadLetters('held')).toEqual([]);
  });
});

describe('two workers side by side', () => {
  it('give the messages to the oldest, and to the other those beyond the prefetch of the oldest', async () => {
    const harness = await workerHarness();
    const workers = [await harness.worker({ PREFETCH: '5' }), await harness.worker({ PREFETCH: '5' })];
    for (const worker of workers)
      await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));
    const storedByEach = () =>
      Promise.all(workers.map((worker) => metric(worker, 'fleetwire_worker_readings_total{outcome="stored"}')));
    for (let n = 1; n <= 10; n += 1) {
      await harness.publish(envelope(readings(`oldest-${n}`, 1)));
      await eventually(async () => expect(await storedByEach()).toEqual([n, 0]));
    }
    harness.postgresProxy.refuse();
    for (let n = 1; n <= 12; n += 1) await harness.publish(envelope(readings(`both-${n}`, 1)));
    // Five are held by each.
    await eventually(async () => expect(await harness.waiting()).toBe(2));
    harness.postgresProxy.resume();
    await eventually(async () => {
      const [oldest, other] = await storedByEach();
      expect(oldest! + other!).toBe(22);
      expect(other).toBeGreaterThanOrEqual(5);
    });
    await untilEmpty(harness);
  });

  it('store overlapping envelopes once, also when one of them stops in between', async () => {
    const harness = await workerHarness();
    // A prefetch so small that both have work.
    const [first] = [await harness.worker({ PREFETCH: '2' }), await harness.worker({ PREFETCH: '2' })];
    const contents = Array.from({ length: 60 }, (_, n) => envelope(readings(`pair-${n % 6}`, 200)));
    const publishing = Promise.all(contents.map((content) => harness.publish(content)));
    await eventually(async () =>
      expect((await harness.rows<{ n: number }>('select count(*)::int as n from readings'))[0]?.n).toBeGreaterThan(0),
    );
    await first.stop();
    await publishing;
    await eventually(async () =>
      expect(await harness.rows('select count(*)::int as n from readings')).toEqual([{ n: 1_200 }]),
    );
    await untilEmpty(harness);
    expect(await harness.rows('select stream_key, seq from readings group by 1, 2 having count(*) > 1')).toEqual([]);
  });
});

it('hands back the held messages when it stops while Postgres is unavailable, and the next worker stores them', async () => {
  const harness = await workerHarness();
  const worker = await harness.worker({ DRAIN_TIMEOUT_MS: '1000' });
  await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));
  harness.postgresProxy.refuse();
  await harness.publish(envelope(readings('handed-back', 10)));
  await eventually(async () => expect(await metric(worker, 'fleetwire_worker_holding')).toBe(1));
  await worker.stop();
  await eventually(async () => expect(await harness.waiting()).toBe(1));
  harness.postgresProxy.resume();
  await harness.worker();
  await eventually(async () => expect(await harness.stored('handed-back')).toBe(10));
});

it('keeps the original in the queue as long as its copy for a retry cannot be published', async () => {
  const harness = await workerHarness();
  await harness.rows('create sequence refusals');
  // An error that the failure policy does not know; the sequence counts also in a transaction that is rolled back.
  await harness.rows(`create function refuse() returns trigger language plpgsql as $$
    begin perform nextval('refusals'); raise exception 'not today'; end $$`);
  await harness.rows('create trigger refuse before insert on readings for each row execute function refuse()');
  const { pathname, username } = new URL(harness.amqpUrl);
  const permit = (write: string) =>
    manageBroker('PUT', `/permissions${pathname}/${username}`, { configure: '.*', write, read: '.*' });
  // Retry queues are reached through the default exchange, which RabbitMQ calls amq.default in permissions.
  await permit('^(?!amq[.]default$).*');
  await harness.publish(envelope(readings('kept', 2)));
  const worker = await harness.worker({ DRAIN_TIMEOUT_MS: '1000' });
  await eventually(async () => expect(await harness.rows('select from refusals where is_called')).toHaveLength(1));
  await worker.stop();
  await eventually(async () => expect(await harness.waiting()).toBe(1));
  await permit('.*');
  await harness.rows('alter table readings disable trigger refuse');
  await harness.worker();
  await eventually(async () => expect(await harness.stored('kept')).toBe(2));
  await untilEmpty(harness);
});

it('keeps the original in the queue as long as its dead letter cannot be published', async () => {
  const harness = await workerHarness();
  const { pathname, username } = new URL(harness.amqpUrl);
  const permit = (write: string) =>
    manageBroker('PUT', `/permissions${pathname}/${username}`, { configure: '.*', write, read: '.*' });
  // Dead letters go through the default exchange, which RabbitMQ calls amq.default in permissions.
  await permit('^(?!amq[.]default$).*');
  await harness.publish(envelope(readings('kept', 2, ({ seq }) => (seq === 1 ? { metrics: { text: 'a\0b' } } : {}))));
  const worker = await harness.worker({ DRAIN_TIMEOUT_MS: '1000' });
  await eventually(async () => expect(await harness.stored('kept')).toBe(1));
  await worker.stop();
  await eventually(async () => expect(await harness.waiting()).toBe(1));
  await permit('.*');
  await harness.worker();
  await eventually(async () => expect(await harness.deadLetters('kept')).toHaveLength(1));
  await untilEmpty(harness);
});

it('readings that together always take longer than a statement may are stored in smaller transactions', async () => {
  const harness = await workerHarness();
  await harness.rows(
    `create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); return new; end $$`,
  );
  await harness.rows('create trigger dawdle before insert on readings for each row execute function dawdle()');
  await harness.worker({ STATEMENT_TIMEOUT_MS: '1000' });
  await harness.publish(envelope(readings('slow', 300)));
  await eventually(async () => expect(await harness.stored('slow')).toBe(300));
  await untilEmpty(harness);
  expect(await harness.deadLetters('slow')).toEqual([]);
  expect(await harness.rows('select sum(stored)::int as stored from books_stored')).toEqual([{ stored: 300 }]);
  expect(await harness.rows('select * from books_duplicates')).toEqual([]);
});
