import { LiveCursors } from '@fleetwire/live/live-cursor';
import { LiveFilter } from '@fleetwire/live/live-filter';
import type { LivePosition } from '@fleetwire/contracts/live-history';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { deletePositions } from '@fleetwire/store/positions/edges';
import { maintainPartitions } from '@fleetwire/store/partitions';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { type Message, startLivePlatform } from './live-platform.ts';
import { webSocketUrlOf } from './platform.ts';

type GapMessage = Message & {
  gapId?: string;
  code?: string;
  from?: string;
  to?: string;
  refill?: string;
  earliest?: string;
  readings?: Message['readings'];
};

const dayMs = 24 * 60 * 60 * 1_000;
const secret = 'the secret of these cursors';
const filter = { devices: ['press-7'] };

describe('a subscription that begins in the past', async () => {
  const platform = await startLivePlatform({ CURSOR_SECRET: secret });
  const url = webSocketUrlOf(platform.edges[1]);
  const sender = await platform.device(platform.edges[0], 'press-7');
  for (let n = 0; n < 20; n += 1) sender.send({ ts: Date.now(), metrics: { n } });
  await sender.whenSettled();
  await eventually(async () => {
    if ((await platform.stored()).size < 20) throw new Error('not stored yet');
  });

  async function subscribe(request: object, subject = 'ada', role: 'analyst' | 'device' = 'analyst') {
    const token = await platform.platform.keys.token(subject, role);
    const socket = new WebSocket(url, 'fleetwire.v1.json', { headers: { authorization: `Bearer ${token}` } });
    cleanUp(() => socket.terminate());
    const messages: GapMessage[] = [];
    socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString('utf8')) as GapMessage));
    await new Promise((resolve) => socket.once('open', resolve));
    socket.send(JSON.stringify({ type: 'subscribe', id: 's', ...request }));
    const first = (type: string, matches: (message: GapMessage) => boolean = () => true) =>
      eventually(() => {
        const found = messages.find((message) => message.type === type && matches(message));
        if (found === undefined) throw new Error(`no such ${type} among ${JSON.stringify(messages)}`);
        return found;
      });
    const seqs = () =>
      messages.flatMap(({ type, readings }) => (type === 'data_update' ? readings!.map(({ seq }) => seq) : []));
    return { messages, first, seqs };
  }

  const position = async (): Promise<LivePosition> => {
    const response = await fetch(`${platform.api.url}/api/v1/live/position`, {
      headers: { authorization: `Bearer ${await platform.platform.keys.token('ada', 'analyst')}` },
    });
    return (await response.json()) as LivePosition;
  };

  /** A cursor as this server writes it, of another time. */
  const cursorOf = async (completeAt: number, of = filter): Promise<string> => {
    const { installation, settled, edgesKnown } = await position();
    const hi = Object.fromEntries(Object.keys(settled).map((edge) => [edge, 0]));
    return new LiveCursors(secret).write(
      { position: { hi, gaps: {}, edgesKnown }, installation, completeAt },
      new LiveFilter(of).key,
    ).cursor;
  };

  it('is refused with cursor-invalid for a cursor that was changed, or signed by another server', async () => {
    const cursor = await cursorOf(Date.now());
    const other = new LiveCursors('another secret').write(
      { position: { hi: {}, gaps: {}, edgesKnown: 0 }, installation: undefined, completeAt: undefined },
      new LiveFilter(filter).key,
    ).cursor;
    const [content, signature] = cursor.split('.') as [string, string];
    const raised = Buffer.from(
      Buffer.from(content, 'base64url')
        .toString('utf8')
        .replace(/"k":\d+/, '"k":999'),
    ).toString('base64url');
    for (const forged of [other, `${raised}.${signature}`, content, 'x', '.'.repeat(4_000)]) {
      const { first } = await subscribe({ ...filter, cursor: forged });
      expect(await first('error')).toMatchObject({ code: 'cursor-invalid' });
    }
  });

  it('is refused with cursor-foreign for the cursor of another filter, and for that of another device', async () => {
    const cursor = await cursorOf(Date.now());
    for (const [request, subject, role] of [
      [{ devices: ['press-7', 'press-8'] }, 'ada', 'analyst'],
      [{ ...filter, metrics: ['n'] }, 'ada', 'analyst'],
      [{ ...filter, tag: 'site:north' }, 'ada', 'analyst'],
      [{ pattern: '*' }, 'press-8', 'device'],
    ] as const) {
      const { first } = await subscribe({ ...request, cursor }, subject, role);
      expect(await first('error')).toMatchObject({ code: 'cursor-foreign' });
    }
    // A cursor gives no rights: what comes is what the token may read.
    const { first, seqs } = await subscribe({ ...filter, cursor }, 'bob', 'analyst');
    await first('caught_up');
    expect(new Set(seqs()).size).toBe(20);
  });

  it('with a cursor whose positions are deleted says cursor-expired, and reads by arrival what came since', async () => {
    const cursor = await cursorOf(Date.now() - 40 * dayMs);
    const kept = await subscribe({ ...filter, cursor });
    await kept.first('caught_up');
    expect(kept.messages.filter(({ type }) => type === 'gap')).toEqual([]);

    // As after 35 days.
    await eventually(async () => {
      const { rows } = await platform.database.pool.query('select from edges where settled > 0');
      expect(rows.length).toBe(1);
    });
    await platform.database.pool.query(`update envelopes set settled_at = settled_at - interval '35 days'`);
    await deletePositions(platform.database.pool, 30);
    const { messages, first, seqs } = await subscribe({ ...filter, cursor });
    const gap = await first('gap');
    expect(gap).toMatchObject({ reason: 'cursor-expired', refill: 'coming', gapId: 'cursor' });
    expect(Date.now() - Date.parse(gap.from!)).toBeGreaterThan(40 * dayMs);
    await first('gap_filled', ({ gapId }) => gapId === gap.gapId);
    await first('caught_up');
    expect(seqs().toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    // It goes on as any other, from a cursor of now.
    const { cursor: next } = messages.findLast((message) => message.cursor !== undefined)!;
    const resumed = await subscribe({ ...filter, cursor: next });
    await resumed.first('caught_up');
    expect(resumed.messages.filter(({ type }) => type === 'gap')).toEqual([]);
  });

  it('with since or a cursor from before retention says how far nothing can be read, and sends what is kept', async () => {
    const sender = await platform.device(platform.edges[0], 'press-9');
    for (const age of [60, 50, 0]) sender.send({ ts: Date.now() - age * dayMs, metrics: { age } });
    await sender.whenSettled();
    await eventually(async () => expect((await platform.stored()).size).toBe(23));
    const before = await subscribe({ devices: ['press-9'], since: 'now-90d' });
    await before.first('caught_up');
    expect(before.seqs()).toEqual([1, 2, 3]);
    expect(before.messages.filter(({ type }) => type === 'gap')).toEqual([]);

    await maintainPartitions(platform.database.pool, { now: Date.now(), weeksAhead: 1, retentionDays: 30 });
    const { first, seqs } = await subscribe({ devices: ['press-9'], since: 'now-90d' });
    const gap = await first('gap');
    expect(gap).toMatchObject({ reason: 'before-retention', refill: 'impossible', to: gap.earliest });
    expect(Date.parse(gap.earliest!)).toBeGreaterThan(Date.now() - 45 * dayMs);
    await first('caught_up');
    expect(seqs()).toEqual([3]);
    const cursor = await cursorOf(Date.now() - 70 * dayMs, { devices: ['press-9'] });
    const resumed = await subscribe({ devices: ['press-9'], cursor });
    expect(await resumed.first('gap', ({ reason }) => reason === 'before-retention')).toMatchObject({
      refill: 'impossible',
    });
    await resumed.first('caught_up');
  });
});
