import { queues } from '@fleetwire/broker/topology';
import { migrate } from '@fleetwire/store/migrate';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { envelope, metric, readings, recordingLogger, untilEmpty, workerHarness } from './harness.ts';

/** jsonb has no NUL (Postgres documentation, 8.14), so Postgres itself refuses this reading. */
const poisoned = { metrics: { text: 'a\0b' } };

describe('the worker', async () => {
  const harness = await workerHarness();
  const worker = await harness.worker();

  it('stores a message once, however often it is delivered', async () => {
    const content = envelope(readings('once', 50));
    await harness.publish(content);
    await harness.publish(content);
    await eventually(async () => expect(await harness.stored('once')).toBe(50));
    await eventually(async () =>
      expect(await metric(worker, 'fleetwire_worker_readings_total{outcome="duplicate"}')).toBe(50),
    );
    await untilEmpty(harness);
  });

  it.each([
    { bad: 1, count: 1_000 },
    { bad: 3, count: 1_000 },
    // As many as an envelope has at most: bisecting them takes 999 transactions.
    { bad: 500, count: 500 },
  ])(
    'of $count readings in a message, $bad of them bad, dead-letters the bad ones alone and stores the others',
    async ({ bad, count }) => {
      const device = `bad-${bad}`;
      const isBad = (seq: number) => seq % Math.floor(count / bad) === 0;
      await harness.publish(envelope(readings(device, count, ({ seq }) => (isBad(seq) ? poisoned : {}))));
      await eventually(async () => expect(await harness.deadLetters(device)).toHaveLength(bad));
      await eventually(async () => expect(await harness.stored(device)).toBe(count - bad));
      const [first] = await harness.deadLetters(device);
      expect(first).toMatchObject({
        reason: 'refused-by-database',
        attempts: 1,
        error_code: expect.stringMatching(/^22/),
        fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
      });
      await untilEmpty(harness);
    },
  );

  it('stores the other envelopes of a batch with a rejected reading', async () => {
    await Promise.all([
      harness.publish(envelope(readings('good', 10))),
      harness.publish(envelope(readings('mixed', 2, ({ seq }) => (seq === 1 ? poisoned : {})))),
    ]);
    await eventually(async () => {
      expect(await harness.stored('good')).toBe(10);
      expect(await harness.stored('mixed')).toBe(1);
      expect(await harness.deadLetters('mixed')).toHaveLength(1);
    });
  });

  it.each([
    ['is no JSON', Buffer.from([0, 255, 1]), /malformed-json/],
    ['is an envelope from the future', Buffer.from('{"schemaVersion":"2.0"}'), /unsupported-version/],
    ['is something else', Buffer.from('{"schemaVersion":"1.0"}'), /missing-field/],
  ])('keeps a message that %s, as it came', async (_name, content, code) => {
    await harness.publish(content);
    await eventually(async () => {
      const found = await harness.rows<{ payload: Buffer; error_code: string }>(
        `select * from dead_letters where reason = 'unreadable' and payload = $1`,
        [content],
      );
      expect(found).toEqual([expect.objectContaining({ error_code: expect.stringMatching(code) })]);
    });
  });

  it('dead-letters a member of an envelope that is not a reading, and stores the other members', async () => {
    const content = JSON.parse(String(envelope(readings('member', 3)))) as { runs: { readings: object[] }[] };
    content.runs[0]!.readings[1] = { seq: 'two' };
    await harness.publish(Buffer.from(JSON.stringify(content)));
    await eventually(async () => {
      expect(await harness.stored('member')).toBe(2);
      expect(await harness.deadLetters('member')).toEqual([expect.objectContaining({ reason: 'invalid-reading' })]);
    });
  });

  it('makes one dead letter of each reading of a message that the broker has dead-lettered', async () => {
    await harness.publish(envelope(readings('given-up', 2)), { queue: queues.dead });
    await eventually(async () =>
      expect((await harness.deadLetters('given-up')).map(({ reason }) => reason)).toEqual([
        'delivery-limit',
        'delivery-limit',
      ]),
    );
  });

  it('keeps one dead letter of a reading that is rejected twice', async () => {
    for (let time = 1; time <= 2; time += 1) {
      await harness.publish(envelope(readings('twice', 1, () => ({ ...poisoned, ts: 1_795_262_400_000 }))));
      await eventually(async () =>
        expect(
          await metric(worker, 'fleetwire_worker_dead_letters_total{reason="refused-by-database"}'),
        ).toBeGreaterThan(0),
      );
      await untilEmpty(harness);
    }
    await eventually(async () => expect(await harness.deadLetters('twice')).toHaveLength(1));
  });
});

describe('readings with the identity of a stored reading and other content', async () => {
  const { logger, messages } = await recordingLogger();
  const harness = await workerHarness({ logger });
  const worker = await harness.worker();
  const counted = (outcome: string) => metric(worker, `fleetwire_worker_readings_total{outcome="${outcome}"}`);

  it('are counted apart from plain duplicates, and logged in one line for many', async () => {
    const first = readings('reused', 20);
    await harness.publish(envelope(first));
    await eventually(async () => expect(await counted('stored')).toBe(20));
    const later = first.map((one) => (one.seq <= 15 ? { ...one, ts: one.ts + 60_000 } : one));
    for (let time = 1; time <= 3; time += 1) {
      await harness.publish(envelope(later));
      await eventually(async () => expect(await counted('conflicting')).toBe(time * 15));
    }
    expect(await counted('duplicate')).toBe(3 * 5);
    expect(await harness.rows('select sum(duplicates) as d, sum(conflicting) as c from books_duplicates')).toEqual([
      { d: '60', c: '45' },
    ]);
    expect(messages.filter((message) => message.includes('other content'))).toHaveLength(1);
    expect(await harness.deadLetters('reused')).toEqual([]);
  });
});

describe('retry with backoff', async () => {
  const harness = await workerHarness({ limits: { retryDelaysMs: { '10s': 200, '1m': 200, '10m': 200 } } });
  // An error that the failure policy does not know.
  await harness.rows(`create function refuse() returns trigger language plpgsql as $$
    begin if new.seq = 7 then raise exception 'not today'; end if; return new; end $$`);
  await harness.rows('create trigger refuse before insert on readings for each row execute function refuse()');
  const worker = await harness.worker();

  it('retries a message three times, then dead-letters the failing readings, each with its own reason, and stores the others', async () => {
    await harness.publish(envelope(readings('retried', 10, ({ seq }) => (seq === 9 ? poisoned : {}))));
    await eventually(async () =>
      expect(await harness.deadLetters('retried')).toEqual([
        expect.objectContaining({ seq: 7, reason: 'retries-exhausted', attempts: 4, error_code: 'P0001' }),
        expect.objectContaining({ seq: 9, reason: 'refused-by-database', attempts: 4 }),
      ]),
    );
    expect(await harness.stored('retried')).toBe(8);
    await untilEmpty(harness);
  });

  it('counts a member that is not a reading once, however often its message is retried', async () => {
    const content = JSON.parse(String(envelope(readings('retried-member', 7)))) as { runs: { readings: object[] }[] };
    content.runs[0]!.readings[0] = { seq: 'one' };
    await harness.publish(Buffer.from(JSON.stringify(content)));
    await eventually(async () => expect(await harness.deadLetters('retried-member')).toHaveLength(2));
    await untilEmpty(harness);
    await eventually(async () =>
      expect(await metric(worker, 'fleetwire_worker_dead_letters_total{reason="invalid-reading"}')).toBe(1),
    );
  });

  it('stores readings whose failure ends before the last retry', async () => {
    // The sequence counts also in a transaction that is rolled back.
    await harness.rows(`create sequence refusals`);
    await harness.rows(`create or replace function refuse() returns trigger language plpgsql as $$
      begin if new.seq = 7 and nextval('refusals') <= 2 then raise exception 'not today'; end if; return new; end $$`);
    await harness.publish(envelope(readings('recovered', 7)));
    await eventually(async () => expect(await harness.stored('recovered')).toBe(7));
    await untilEmpty(harness);
    expect(await metric(worker, 'fleetwire_worker_readings_total{outcome="retried-later"}')).toBe(
      3 * 10 + 3 * 6 + 2 * 7,
    );
    expect(await harness.deadLetters('recovered')).toEqual([]);
  });
});

it('waits until the migrations have run, and dead-letters nothing until then', async () => {
  const harness = await workerHarness({ migrated: false });
  const worker = await harness.worker();
  await harness.publish(envelope(readings('early', 5)));
  await eventually(async () => expect(await metric(worker, 'fleetwire_worker_holding')).toBe(1));
  expect((await fetch(`${worker.url}/readyz`)).status).toBe(503);
  await migrate(harness.databaseUrl);
  await eventually(async () => expect(await harness.stored('early')).toBe(5));
  expect(await harness.rows('select * from dead_letters')).toEqual([]);
  await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));
});

describe('the bound on epochs of a device', async () => {
  const harness = await workerHarness({ limits: { retryDelaysMs: { '10s': 200, '1m': 200, '10m': 200 } } });
  await harness.worker({ STREAMS_PER_DEVICE_DAY_MAX: '2' });

  it('dead-letters readings of further epochs with the bound, and stores all others', async () => {
    const flood = readings('flood', 5, ({ seq }) => ({ epoch: `boot-${Math.min(seq, 3)}` }));
    await harness.publish(envelope([...flood, ...readings('neighbour', 5, () => ({ epoch: 'second' }))]));
    await eventually(async () => {
      expect(await harness.stored('flood')).toBe(2);
      expect(await harness.stored('neighbour')).toBe(5);
      expect(await harness.deadLetters('flood')).toEqual(
        [3, 4, 5].map((seq) =>
          expect.objectContaining({ seq, reason: 'too-many-streams', error_code: 'too-many-streams', attempts: 1 }),
        ),
      );
    });
  });
});
