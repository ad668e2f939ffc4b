import { queues } from '@fleetwire/broker/topology';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { type DeadLetterPlatform, envelope, readings, startDeadLetterPlatform } from './dead-letter-platform.ts';
import { startService } from './platform.ts';

/** Makes Postgres refuse all readings until the fault is repaired. */
async function refuseReadings(platform: DeadLetterPlatform): Promise<{ repair(): Promise<unknown> }> {
  await platform.rows(`create or replace function refuse() returns trigger language plpgsql as $$
    begin raise check_violation using message = 'value out of range', constraint = 'sensible'; end $$`);
  await platform.rows('create trigger refuse before insert on readings for each row execute function refuse()');
  return { repair: () => platform.rows('drop trigger refuse on readings') };
}

/** Waits until the API reports that all dead letters of a replay are stored. */
async function untilReplayed(
  platform: DeadLetterPlatform,
  { id, count }: { id: string; count: number },
): Promise<void> {
  await eventually(async () => {
    const { body } = await platform.call('GET', `/dead-letters/replays/${id}`);
    expect(body).toMatchObject({ state: 'done', counts: { matched: count, published: count, stored: count } });
  });
}

describe('dead letters', async () => {
  const platform = await startDeadLetterPlatform();

  it('are listed, filtered, paged, grouped and shown', async () => {
    await platform.publish(envelope(readings('shown', 3)));
    const letters = await platform.deadLettersOf('shown', 3);
    const letter = letters[0]!;
    expect(letter).toMatchObject({
      status: 'open',
      reason: 'refused-by-database',
      error: { code: '22P05' },
      deviceId: 'shown',
      epoch: 'boot',
      replays: 0,
    });

    const walked: unknown[] = [];
    let next: string | null = '';
    while (next !== null) {
      const path = `/dead-letters?deviceId=shown&limit=2${next === '' ? '' : `&cursor=${next}`}`;
      const { body } = await platform.call('GET', path);
      walked.push(...body.data);
      next = body.page.next;
    }
    expect(walked).toEqual(letters);

    const { fingerprint } = letter;
    for (const [filter, count] of [
      [`fingerprint=${fingerprint}`, 3],
      ['reason=refused-by-database&from=now-1h', 3],
      ['to=now-1h', 0],
      ['status=discarded', 0],
      ['fingerprint=another', 0],
    ]) {
      expect(
        (await platform.call('GET', `/dead-letters?deviceId=shown&${filter}`)).body.data,
        `${filter}`,
      ).toHaveLength(count as number);
    }
    const groups = await platform.call('GET', '/dead-letters/groups?deviceId=shown');
    expect(groups.body).toMatchObject({
      data: [{ fingerprint, count: 3, byStatus: { open: 3 }, devices: 1, example: { id: letter.id } }],
      covers: { count: 1, complete: true },
    });

    const { body } = await platform.call('GET', `/dead-letters/${letter.id}`);
    expect(body).toMatchObject({
      headers: { traceparent: expect.any(String) },
      payload: { encoding: 'json', json: { seq: letter.seq, metrics: { text: 'a\0b' } }, truncated: false },
      history: [],
    });
  });

  it('that are not JSON are shown as bytes, and as text without control characters', async () => {
    const content = Buffer.from([0x1b, 0x5b, 0x32, 0x4a, 0xff, 0x00, 0x68, 0x69, 0xe2, 0x80, 0xae]);
    await platform.publish(content);
    const id = await eventually(async () => {
      const { body } = await platform.call('GET', '/dead-letters?reason=unreadable');
      expect(body.data).toHaveLength(1);
      return body.data[0]!.id;
    });
    const { payload } = (await platform.call('GET', `/dead-letters/${id}`)).body;
    expect(payload).toEqual({
      encoding: 'base64',
      bytes: content.length,
      base64: content.toString('base64'),
      preview: '\u{FFFD}[2J\u{FFFD}\u{FFFD}hi\u{FFFD}',
      truncated: false,
    });
  });

  it('that are not JSON are replayed unchanged, and fail again as the same dead letter', async () => {
    const letter = (await platform.call('GET', '/dead-letters?reason=unreadable')).body.data[0]!;
    const { body } = await platform.call('POST', '/dead-letters/replays', { ids: [letter.id] });
    expect((await platform.replayIn(body.id, 'done')).counts).toMatchObject({
      published: 1,
      stored: 0,
      failedAgain: 1,
    });
    const again = (await platform.call('GET', '/dead-letters?reason=unreadable')).body.data;
    expect(again).toMatchObject([{ id: letter.id, status: 'open', replays: 1, repeated: 1 }]);
  });

  it('are accessible to operators and admins only', async () => {
    for (const role of ['device', 'analyst'] as const) {
      const bearer = await platform.token('someone', role);
      for (const [method, path, body] of [
        ['GET', '/dead-letters'],
        ['GET', '/dead-letters/groups'],
        ['GET', '/dead-letters/actions'],
        ['GET', '/dead-letters/replays'],
        ['GET', '/dead-letters/someone'],
        ['POST', '/dead-letters/replays', { ids: ['x'] }],
        ['POST', '/dead-letters/discard', { ids: ['x'], reason: 'why' }],
        ['POST', '/dead-letters/someone/restore', { reason: 'why' }],
        ['PATCH', '/dead-letters/someone', { patch: {} }],
      ] as const) {
        expect((await platform.call(method, path, body, { bearer })).status, `${role} ${method} ${path}`).toBe(403);
      }
    }
    expect(
      (await platform.call('GET', '/dead-letters', undefined, { bearer: await platform.token('ann', 'admin') })).status,
    ).toBe(200);
  });
});

describe('replaying', async () => {
  const platform = await startDeadLetterPlatform({ REPLAY_LEASE_MS: '1000' });

  it('stores readings once after the fault was repaired, however often they are replayed', async () => {
    const fault = await refuseReadings(platform);
    await platform.publish(envelope(readings('repaired', 5, { temperature: 20 })));
    const letters = await platform.deadLettersOf('repaired', 5);
    await fault.repair();
    const replay = { filter: { deviceId: 'repaired' }, ratePerSecond: 1000 };
    const { status, body } = await platform.call('POST', '/dead-letters/replays', replay);
    expect(status).toBe(202);
    expect(body).toMatchObject({ source: 'operator', createdBy: 'olga', counts: { matched: 5 } });
    expect((await platform.replayIn(body.id, 'done')).counts).toEqual({
      matched: 5,
      queued: 0,
      published: 5,
      stored: 5,
      failedAgain: 0,
      unknown: 0,
      pending: 0,
    });
    expect(await platform.stored('repaired')).toHaveLength(5);
    // Reconciliation counts them apart from readings that arrived.
    expect(
      await platform.rows('select sum(stored)::int4 as stored, sum(replayed)::int4 as replayed from books_stored'),
    ).toEqual([{ stored: 0, replayed: 5 }]);
    expect((await platform.deadLettersOf('repaired', 5)).map(({ status: of }) => of)).toEqual(Array(5).fill('stored'));

    const again = await platform.call('POST', '/dead-letters/replays', { ids: letters.map(({ id }) => id) });
    expect((await platform.replayIn(again.body.id, 'done')).counts).toMatchObject({ published: 5, stored: 5 });
    expect(await platform.stored('repaired')).toHaveLength(5);
  });

  it('counts failures after a replay as repeated', async () => {
    await platform.publish(envelope(readings('hopeless', 1)));
    const letter = await platform.firstOf('hopeless', 1);
    for (const times of [1, 2]) {
      const { body } = await platform.call('POST', '/dead-letters/replays', { ids: [letter.id] });
      expect((await platform.replayIn(body.id, 'done')).counts).toMatchObject({
        published: 1,
        stored: 0,
        failedAgain: 1,
      });
      const now = await platform.firstOf('hopeless', 1);
      expect(now).toMatchObject({ id: letter.id, status: 'open', replays: times, repeated: times });
    }
    const { history } = (await platform.call('GET', `/dead-letters/${letter.id}`)).body;
    expect(history).toMatchObject([
      { action: 'replayed', actor: 'olga', details: { source: 'operator', outcome: 'failed-again' } },
      { action: 'replayed', actor: 'olga' },
    ]);
  });

  it('recognises a failure also when it creates another dead letter', async () => {
    const fault = await refuseReadings(platform);
    const [reading] = readings('changed', 1, { temperature: 20 });
    await platform.publish(envelope([reading!]));
    const letter = await platform.firstOf('changed', 1);
    // As if the first time it had failed for another reason.
    await platform.rows(`update dead_letters set id = 'other', reason = 'retries-exhausted' where id = $1`, [
      letter.id,
    ]);
    const { body } = await platform.call('POST', '/dead-letters/replays', { ids: ['other'] });
    expect((await platform.replayIn(body.id, 'done')).counts).toMatchObject({ published: 1, failedAgain: 1 });
    await fault.repair();
  });

  it('of all dead letters needs a confirmation', async () => {
    for (const filter of [undefined, {}, { status: 'open' }]) {
      const { status, body } = await platform.call('POST', '/dead-letters/replays', { filter, dryRun: true });
      expect(status).toBe(400);
      expect(body.errors[0]!.field).toBe('body.confirm');
    }
    expect((await platform.call('POST', '/dead-letters/replays', { dryRun: true, confirm: true })).status).toBe(202);
  });

  it('names the invalid field of a request', async () => {
    for (const [wrong, field] of [
      [{ filter: { reason: 'bad luck' } }, 'body.filter.reason'],
      [{ filter: { from: 'yesterday' } }, 'body.filter.from'],
      [{ filter: { status: 'discarded', deviceId: 'x' } }, 'body.filter.status'],
      [{ ids: ['x'], filter: { deviceId: 'x' } }, 'body.ids'],
      [{ ids: ['x'], ratePerSecond: 0 }, 'body.ratePerSecond'],
    ]) {
      const { status, body } = await platform.call('POST', '/dead-letters/replays', wrong);
      expect([status, body.errors[0]!.field]).toEqual([400, field]);
    }
    expect((await platform.call('GET', '/dead-letters/replays/nothing')).status).toBe(404);
  });

  it('counts and publishes nothing as a dry run', async () => {
    await platform.publish(envelope(readings('dry', 3)));
    await platform.deadLettersOf('dry', 3);
    const { body } = await platform.call('POST', '/dead-letters/replays', {
      filter: { deviceId: 'dry' },
      max: 2,
      dryRun: true,
    });
    expect(body).toMatchObject({ state: 'dry-run', counts: { matched: 2, queued: 0, published: 0 } });
    expect((await platform.deadLettersOf('dry', 3)).every(({ replays }) => replays === 0)).toBe(true);
  });

  it('keeps its rate and its maximum, and can be cancelled', async () => {
    await platform.publish(envelope(readings('slow', 40)));
    await platform.deadLettersOf('slow', 40);
    const limited = await platform.call('POST', '/dead-letters/replays', { filter: { deviceId: 'slow' }, max: 3 });
    expect((await platform.replayIn(limited.body.id, 'done')).counts).toMatchObject({ matched: 3, published: 3 });

    const startedAt = Date.now();
    const { body } = await platform.call('POST', '/dead-letters/replays', {
      filter: { deviceId: 'slow' },
      ratePerSecond: 5,
    });
    const running = await eventually(async () => {
      const { body: replay } = await platform.call('GET', `/dead-letters/replays/${body.id}`);
      expect(replay.counts.published).toBeGreaterThanOrEqual(8);
      return replay;
    });
    const seconds = (Date.now() - startedAt) / 1_000;
    expect(running.counts.published).toBeLessThanOrEqual(5 * seconds + 10);

    const cancelled = await platform.call('POST', `/dead-letters/replays/${body.id}/cancel`);
    expect(cancelled.body).toMatchObject({ state: 'cancelled', counts: { queued: 0 } });
    expect((await platform.call('POST', `/dead-letters/replays/${body.id}/cancel`)).status).toBe(200);
    expect((await platform.call('POST', `/dead-letters/replays/${limited.body.id}/cancel`)).status).toBe(409);
    await eventually(async () => {
      const { counts } = (await platform.call('GET', `/dead-letters/replays/${body.id}`)).body;
      expect(counts).toMatchObject({ pending: 0, failedAgain: counts.published });
      expect(counts.published).toBeLessThan(40);
    });
    const actions = (await platform.call('GET', '/dead-letters/actions')).body.data;
    expect(actions).toContainEqual(expect.objectContaining({ action: 'replay-cancelled', replayId: body.id }));
  });

  it('is accepted and reported by an API that has no broker, and run by the worker', async () => {
    await platform.publish(envelope(readings('no-broker', 1)));
    const letter = await platform.firstOf('no-broker', 1);
    for (const AMQP_URL of ['', 'amqp://127.0.0.1:1']) {
      const { url } = await platform.startApi({ AMQP_URL });
      const { status, body } = await platform.call('POST', '/dead-letters/replays', { ids: [letter.id] }, { url });
      expect({ status, state: body.state }).toEqual({ status: 202, state: 'queued' });
      await eventually(async () => {
        const { body: replay } = await platform.call('GET', `/dead-letters/replays/${body.id}`, undefined, { url });
        expect(replay).toMatchObject({ state: 'done', counts: { published: 1, failedAgain: 1 } });
      });
    }
  });

  it('is accepted and reported without a worker, and waits for one', async () => {
    await platform.publish(envelope(readings('no-worker', 1)));
    const letter = await platform.firstOf('no-worker', 1);
    await platform.worker.stop();
    const { status, body } = await platform.call('POST', '/dead-letters/replays', { ids: [letter.id] });
    expect(status).toBe(202);
    const { body: waiting } = await platform.call('GET', `/dead-letters/replays/${body.id}`);
    expect(waiting).toMatchObject({ state: 'queued', counts: { matched: 1, published: 0, queued: 1 } });
    await platform.startWorker();
    await platform.replayIn(body.id, 'done');
  });
});

describe('a worker that is stopped in the middle of a replay', async () => {
  const platform = await startDeadLetterPlatform();

  it('hands the replay over to another worker', async () => {
    const fault = await refuseReadings(platform);
    await platform.publish(envelope(readings('handed-over', 60, { temperature: 20 })));
    await platform.deadLettersOf('handed-over', 60);
    await fault.repair();
    const replay = { filter: { deviceId: 'handed-over' }, ratePerSecond: 10 };
    const { body } = await platform.call('POST', '/dead-letters/replays', replay);
    const holder = async () =>
      (
        await platform.rows<{ by: string }>('select leased_by as by from dead_letter_replays where id = $1', [body.id])
      )[0]!.by;
    await eventually(async () => expect((await platform.stored('handed-over')).length).toBeGreaterThan(0));
    const before = await holder();
    await platform.startWorker();
    await platform.worker.stop();
    await eventually(async () => expect([null, before]).not.toContain(await holder()));
    await untilReplayed(platform, { id: body.id, count: 60 });
    expect(await platform.stored('handed-over')).toHaveLength(60);
  });
});

describe('a worker that is killed in the middle of a replay', async () => {
  const platform = await startDeadLetterPlatform({ REPLAY_LEASE_MS: '500' });

  it('leaves the replay to another worker, which neither skips nor stores twice', async () => {
    const fault = await refuseReadings(platform);
    await platform.publish(envelope(readings('orphaned', 100, { temperature: 20 })));
    await eventually(async () => expect(await platform.rows('select from dead_letters')).toHaveLength(100));
    await fault.repair();
    await platform.worker.stop();

    const killed = await startService('persistence-worker', platform.processEnvironment);
    await killed.untilReady();
    const replay = { filter: { deviceId: 'orphaned' }, ratePerSecond: 40 };
    const { body } = await platform.call('POST', '/dead-letters/replays', replay);
    await eventually(async () => expect((await platform.stored('orphaned')).length).toBeGreaterThan(20));
    await killed.kill();
    expect((await platform.stored('orphaned')).length).toBeLessThan(100);

    await platform.startWorker();
    await untilReplayed(platform, { id: body.id, count: 100 });
    expect(new Set((await platform.stored('orphaned')).map(({ seq }) => seq)).size).toBe(100);
    expect(await platform.stored('orphaned')).toHaveLength(100);
  });
});

describe('an edited copy', async () => {
  const platform = await startDeadLetterPlatform();
  const onlyLetterOf = (deviceId: string) => platform.firstOf(deviceId, 1);

  it('is stored, and the original is kept with the difference', async () => {
    await platform.publish(envelope(readings('mended', 1, { text: 'a\0b', temperature: 20 })));
    const letter = await onlyLetterOf('mended');
    const patch = { metrics: { text: 'a b' } };
    const { status, body } = await platform.call('PATCH', `/dead-letters/${letter.id}`, { patch, note: 'no NUL' });
    expect(status).toBe(202);
    expect((await platform.replayIn(body.id, 'done')).counts).toMatchObject({ published: 1, stored: 1 });
    expect(await platform.stored('mended')).toEqual([{ seq: 1, metrics: { text: 'a b', temperature: 20 } }]);

    const kept = (await platform.call('GET', `/dead-letters/${letter.id}`)).body;
    expect(kept).toMatchObject({ status: 'stored', payload: { json: { metrics: { text: 'a\0b' } } } });
    expect(kept.history).toMatchObject([
      { action: 'replayed', details: { source: 'edit', outcome: 'stored' } },
      { action: 'edited', actor: 'olga', details: { difference: patch, note: 'no NUL' } },
    ]);
  });

  it('may replace time and metrics, and fill in a missing identity', async () => {
    await platform.publish(Buffer.from('gibberish'));
    const { id } = await eventually(async () => {
      const { body } = await platform.call('GET', '/dead-letters?reason=unreadable');
      expect(body.data).toHaveLength(1);
      return body.data[0]!;
    });
    const replacement = { ts: '2026-01-01T00:00:00Z', metrics: { level: 3 } };
    const incomplete = await platform.call('PATCH', `/dead-letters/${id}`, { replacement });
    expect(incomplete.status).toBe(400);
    const whole = { deviceId: 'rescued', epoch: 'boot', seq: 9, ...replacement };
    const { body } = await platform.call('PATCH', `/dead-letters/${id}`, { replacement: whole });
    await platform.replayIn(body.id, 'done');
    expect(await platform.stored('rescued')).toEqual([{ seq: 9, metrics: { level: 3 } }]);
  });

  it('must be a valid reading with the same identity', async () => {
    await platform.publish(envelope(readings('judged', 1)));
    const { id } = await onlyLetterOf('judged');
    for (const [edit, field] of [
      [{ patch: {} }, 'metrics.text'],
      [{ patch: { metrics: { text: 'a\0b' } } }, 'body.patch.metrics.text'],
      [{ patch: { metrics: { text: [1] } } }, 'metrics.text'],
      [{ patch: { metrics: { text: null } } }, 'metrics'],
      [{ patch: { metrics: { text: 'fine' }, seq: 2 } }, 'seq'],
      [{ patch: { metrics: { text: 'fine' }, deviceId: 'another' } }, 'deviceId'],
      [{ patch: { metrics: { text: 'fine' }, colour: 'red' } }, 'colour'],
      [{ patch: { metrics: { text: 'fine' }, ts: '1999-01-01T00:00:00Z' } }, 'ts'],
      [{ replacement: { metrics: { text: 'fine' } } }, 'ts'],
      [{}, 'body'],
      [{ patch: {}, replacement: {} }, 'body'],
    ]) {
      const { status, body } = await platform.call('PATCH', `/dead-letters/${id}`, edit);
      expect([status, body.errors?.[0]?.field], JSON.stringify(edit)).toEqual([400, field]);
    }
    expect((await platform.call('PATCH', '/dead-letters/nothing', { patch: {} })).status).toBe(404);
    expect(await platform.call('GET', `/dead-letters/${id}`)).toMatchObject({ body: { status: 'open', replays: 0 } });
  });

  it('that fails is a separate dead letter, and the original is open again', async () => {
    await platform.publish(envelope(readings('twice-bad', 1)));
    const letter = await onlyLetterOf('twice-bad');
    const fault = await refuseReadings(platform);
    const { body } = await platform.call('PATCH', `/dead-letters/${letter.id}`, {
      patch: { metrics: { text: 'fine' } },
    });
    expect((await platform.replayIn(body.id, 'done')).counts).toMatchObject({ failedAgain: 1 });
    await fault.repair();
    const [copy, original] = await platform.deadLettersOf('twice-bad', 2);
    expect(original).toMatchObject({ id: letter.id, status: 'open', repeated: 1 });
    expect(copy).toMatchObject({ status: 'open', seq: 1, repeated: 0 });
  });
});

describe('discarding', async () => {
  const platform = await startDeadLetterPlatform();

  it('needs a reason, can be undone, and both are recorded with their actor', async () => {
    await platform.publish(envelope(readings('discarded', 1)));
    const { id } = await platform.firstOf('discarded', 1);
    expect((await platform.call('POST', `/dead-letters/${id}/discard`, {})).status).toBe(400);
    for (let time = 1; time <= 2; time += 1) {
      const { body } = await platform.call('POST', `/dead-letters/${id}/discard`, { reason: 'a test bench' });
      expect(body).toMatchObject({ status: 'discarded' });
    }
    // Neither by name nor by a filter is it replayed.
    const named = await platform.call('POST', '/dead-letters/replays', { ids: [id], dryRun: true });
    const filtered = await platform.call('POST', '/dead-letters/replays', {
      filter: { deviceId: 'discarded' },
      dryRun: true,
    });
    expect([named.body.counts.matched, filtered.body.counts.matched]).toEqual([0, 0]);
    expect((await platform.call('PATCH', `/dead-letters/${id}`, { patch: {} })).status).toBe(409);

    const restored = await platform.call('POST', `/dead-letters/${id}/restore`, { reason: 'no, it was not' });
    expect(restored.body).toMatchObject({
      status: 'open',
      history: [
        { action: 'restored', actor: 'olga', details: { reason: 'no, it was not' } },
        { action: 'discarded', actor: 'olga', details: { reason: 'a test bench' } },
      ],
    });
    expect((await platform.call('POST', '/dead-letters/nothing/discard', { reason: 'x' })).status).toBe(404);
  });

  it('applies to all dead letters that a filter matches, if it is narrow or confirmed', async () => {
    await platform.publish(envelope(readings('many', 30)));
    await platform.deadLettersOf('many', 30);
    const reason = 'out of service';
    expect((await platform.call('POST', '/dead-letters/discard', { reason })).status).toBe(400);
    const filter = { deviceId: 'many' };
    expect((await platform.call('POST', '/dead-letters/discard', { filter, reason })).body).toEqual({
      count: 30,
      complete: true,
    });
    expect((await platform.call('POST', '/dead-letters/discard', { filter, reason })).body.count).toBe(0);
    const actions = (await platform.call('GET', '/dead-letters/actions?limit=30')).body.data;
    expect(actions.every(({ action, details }) => action === 'discarded' && details.reason === reason)).toBe(true);
    expect((await platform.call('POST', '/dead-letters/restore', { filter, reason: 'back' })).body.count).toBe(30);
    expect((await platform.call('POST', '/dead-letters/discard', { confirm: true, reason })).body.count).toBe(31);
  });
});

describe('a dead letter that failed for a transient reason', async () => {
  const platform = await startDeadLetterPlatform({ AUTOMATIC_REPLAYS_MAX: '1', AUTOMATIC_REPLAY_DELAY_MS: '0' });

  it('is replayed automatically: a message past the delivery limit', async () => {
    await platform.publish(envelope(readings('given-up', 3, { temperature: 20 })), { queue: queues.dead });
    await eventually(async () => expect(await platform.stored('given-up')).toHaveLength(3));
    await eventually(async () => {
      const letter = await platform.firstOf('given-up', 3);
      expect(letter).toMatchObject({ status: 'stored', automaticReplays: 1 });
    });
    const [replay] = (await platform.call('GET', '/dead-letters/replays')).body.data;
    expect(replay).toMatchObject({ source: 'automatic', createdBy: 'fleetwire', counts: { stored: 3 } });
  });

  it('is replayed automatically once, and not again when it fails again; other failures never are', async () => {
    await platform.publish(envelope(readings('stubborn', 1)));
    await platform.publish(envelope(readings('hopeless', 1)));
    const letter = await platform.firstOf('stubborn', 1);
    const hopeless = await platform.firstOf('hopeless', 1);
    // As an older release would have stored it, which did not classify this failure as transient.
    await platform.rows(
      `update dead_letters set reason = 'retries-exhausted', error_code = '40001', fingerprint = 'x' where id = $1`,
      [letter.id],
    );
    await eventually(async () =>
      expect(await platform.deadLettersOf('stubborn', 1)).toMatchObject([{ automaticReplays: 1, repeated: 1 }]),
    );
    // The next search finds work, and leaves the one that failed again.
    await platform.publish(envelope(readings('next', 1, { temperature: 20 })), { queue: queues.dead });
    await eventually(async () => expect(await platform.stored('next')).toHaveLength(1));
    expect(await platform.deadLettersOf('stubborn', 1)).toMatchObject([{ status: 'open', automaticReplays: 1 }]);
    expect(await platform.deadLettersOf('hopeless', 1)).toMatchObject([{ id: hopeless.id, replays: 0 }]);
  });
});
