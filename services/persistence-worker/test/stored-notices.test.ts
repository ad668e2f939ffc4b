import { isolatedHeader } from '@fleetwire/broker/retry-headers';
import { openPrivateQueue } from '@fleetwire/broker/private-queue';
import { exchanges, queues } from '@fleetwire/broker/topology';
import { encodePosition, positionHeader } from '@fleetwire/contracts/envelope-position';
import { type StoredNotice, parseStoredNotice, storedNoticeHeader } from '@fleetwire/contracts/stored-notice';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { describe, expect, it } from 'vitest';
import { type Harness, envelope, readings, untilEmpty, workerHarness } from './harness.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const retryDelaysMs = { '10s': 300, '1m': 300, '10m': 300 };
/** Postgres cannot store NUL in a text. */
const poisoned = { metrics: { text: 'a\u0000b' } };

function at(number: number, part = '', headers: Record<string, unknown> = { [storedNoticeHeader]: true }) {
  return { headers: { [positionHeader]: encodePosition({ instanceId: 'edge', number, part }), ...headers } };
}

/** The notices to the edge `edge`. */
async function noticesOf({ connection }: Harness): Promise<StoredNotice[]> {
  const notices: StoredNotice[] = [];
  const bound = Promise.withResolvers<void>();
  const queue = openPrivateQueue(connection, {
    logger: silent,
    namePrefix: 'stored.edge',
    exchange: exchanges.stored,
    routingKeys: ['edge'],
    messagesMax: 1_000,
    bytesMax: 1_000_000,
    onBound: () => bound.resolve(),
    onMessage: (content) => {
      const notice = parseStoredNotice(JSON.parse(content.toString('utf8')));
      if (!notice.ok) throw new Error(notice.issue.message);
      notices.push(notice.value);
    },
  });
  cleanUp(() => queue.close());
  await bound.promise;
  return notices;
}

const numbersOf = (notices: readonly StoredNotice[]) => notices.flatMap(({ numbers }) => numbers).toSorted();

describe('the notice that an envelope is stored', () => {
  it('is published only for envelopes that ask for it, after the commit, together with the dead readings of the envelope', async () => {
    const harness = await workerHarness({ limits: { retryDelaysMs } });
    const notices = await noticesOf(harness);
    await harness.worker();
    const blocked = await harness.blockReadings();
    await harness.publish(envelope(readings('silent', 2)), at(1, '', {}));
    await harness.publish(envelope(readings('heard', 2)), at(2));
    await harness.publish(envelope(readings('partly', 3, ({ seq }) => (seq === 2 ? poisoned : {}))), at(3));
    await harness.publish(Buffer.from('no JSON'), at(4));
    await eventually(() => expect(numbersOf(notices)).toEqual([4]));
    await blocked.release();
    await eventually(() => expect(numbersOf(notices)).toEqual([2, 3, 4]));
    const [dead] = notices.flatMap((notice) => notice.dead.filter(({ number }) => number === 3));
    const [kept] = await eventually(async () => {
      const letters = await harness.rows<{ id: string }>("select id from dead_letters where device_id = 'partly'");
      expect(letters).toHaveLength(1);
      return letters;
    });
    expect(dead).toMatchObject({
      deviceId: 'partly',
      epoch: 'e',
      seq: 2,
      reason: 'refused-by-database',
      deadLetterId: kept!.id,
    });
    const unreadable = notices.flatMap((notice) => notice.dead.filter(({ number }) => number === 4));
    expect(unreadable).toMatchObject([{ number: 4, reason: 'unreadable' }]);
    expect(unreadable[0]).not.toHaveProperty('deviceId');
    await untilEmpty(harness);
    expect(numbersOf(notices)).toEqual([2, 3, 4]);
  });

  it('comes after the last retry, names conflicting readings, and comes for what the broker dead-letters', async () => {
    const harness = await workerHarness({ limits: { retryDelaysMs } });
    const notices = await noticesOf(harness);
    await harness.rows(`create function refuse() returns trigger language plpgsql as $$
      begin if new.seq = 7 then raise exception 'not today'; end if; return new; end $$`);
    await harness.rows('create trigger refuse before insert on readings for each row execute function refuse()');
    await harness.worker();
    await harness.publish(envelope(readings('retried', 7)), at(1));
    await harness.publish(envelope(readings('given-up', 2)), { ...at(2), queue: queues.dead });
    await harness.publish(envelope(readings('twice', 3)), at(3));
    await eventually(async () => expect(await harness.stored('twice')).toBe(3));
    await harness.publish(envelope(readings('twice', 3, () => ({ metrics: { temperature: -1 } }))), at(4));
    await eventually(() => expect(numbersOf(notices)).toEqual([1, 2, 3, 4]));
    expect(notices.flatMap((notice) => notice.conflicting)).toEqual(
      [1, 2, 3].map((seq) => ({ number: 4, deviceId: 'twice', epoch: 'e', seq })),
    );
    const dead = notices.flatMap((notice) => notice.dead);
    expect(dead.filter(({ number }) => number === 1)).toMatchObject([{ seq: 7, reason: 'retries-exhausted' }]);
    expect(dead.filter(({ number }) => number === 2)).toMatchObject([
      { seq: 1, reason: 'delivery-limit' },
      { seq: 2, reason: 'delivery-limit' },
    ]);
  });

  it('does not come for a half of a split message: only a whole envelope is told, with all its dead readings', async () => {
    const harness = await workerHarness();
    const notices = await noticesOf(harness);
    await harness.worker();
    for (const part of ['0', '1'])
      await harness.publish(envelope(readings(`half-${part}`, 2)), {
        headers: { ...at(1, part).headers, [isolatedHeader]: true },
      });
    await eventually(async () => expect(await harness.stored('half-1')).toBe(2));
    await harness.publish(envelope(readings('whole', 2)), at(2));
    await eventually(() => expect(numbersOf(notices)).toEqual([2]));
  });
});
