import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, it } from 'vitest';
import { openEvents, startLivePlatform, startWatcher } from './live-platform.ts';
import { webSocketUrlOf } from './platform.ts';

const { platform, edges, api, stored, device } = await startLivePlatform();
const storedOf = async (deviceId: string): Promise<string[]> =>
  [...(await stored())].filter((id) => id.startsWith(`${deviceId} `)).toSorted();

it('sends the history and then live readings, nothing missing and nothing twice, and resumes by cursor after a break', async () => {
  const sender = await device(edges[0], 'press-7');
  for (let i = 0; i < 300; i += 1) sender.send({ ts: Date.now(), metrics: { n: i } });
  await sender.whenSettled();
  const watcher = startWatcher(webSocketUrlOf(edges[1]), await platform.keys.token('ada', 'analyst'), {
    devices: ['press-7'],
  });
  for (let i = 0; i < 300; i += 1) {
    sender.send({ ts: Date.now(), metrics: { n: i } });
    await sleep(5);
  }
  await eventually(() => expect(watcher.received.size).toBe(600));
  await eventually(() => expect(watcher.has('caught_up')).toBe(true));
  watcher.break();
  for (let i = 0; i < 200; i += 1) {
    sender.send({ ts: Date.now(), metrics: { n: i } });
    await sleep(5);
  }
  await eventually(() => expect(watcher.received.size).toBe(800));
  await sender.whenSettled();
  // Live is ahead of the database.
  await eventually(async () => expect([...watcher.received.keys()].toSorted()).toEqual(await storedOf('press-7')));
  expect(watcher.state()).toEqual({ subscriptions: 2, repeatedInOneSubscription: 0 });
});

it('goes on live while query-api is away, says so, and fills in the history afterwards', async () => {
  const sender = await device(edges[0], 'press-8');
  for (let i = 0; i < 100; i += 1) sender.send({ ts: Date.now(), metrics: { n: i } });
  await sender.whenSettled();
  await eventually(async () => expect(await storedOf('press-8')).toHaveLength(100));
  await api.kill();
  const watcher = startWatcher(webSocketUrlOf(edges[1]), await platform.keys.token('ada', 'analyst'), {
    devices: ['press-8'],
  });
  await eventually(() => expect(watcher.messages.some(({ reason }) => reason === 'history-unavailable')).toBe(true));
  await eventually(() => {
    sender.send({ ts: Date.now(), metrics: { n: 0 } });
    expect(watcher.messages.some(({ phase }) => phase === 'live')).toBe(true);
  });
  api.start();
  await api.untilReady();
  await sender.whenSettled();
  await eventually(async () => expect([...watcher.received.keys()].toSorted()).toEqual(await storedOf('press-8')));
  await eventually(() => expect(watcher.has('caught_up')).toBe(true));
});

it('works with the client that docs/live.md prints', async () => {
  const page = await readFile(new URL('../../docs/live.md', import.meta.url), 'utf8');
  const program = /```js\n([\s\S]*?)```/.exec(page)![1]!;
  const env = {
    ...process.env,
    FLEETWIRE_WS: webSocketUrlOf(edges[0]),
    FLEETWIRE_TOKEN: await platform.keys.token('ada', 'analyst'),
  };
  const running = execFile(process.execPath, ['--input-type=module', '--eval', program], { env });
  cleanUp(() => void running.kill());
  let output = '';
  running.stdout!.on('data', (text: string) => (output += text));
  const sender = await device(edges[1], 'press-9');
  sender.send({ ts: Date.now(), metrics: { temperature: 21.5 } });
  await eventually(() => expect(output).toMatch(/^press-9 1 .*"temperature":21\.5/m));
});

it('streams the same as server-sent events, resumes by Last-Event-ID, and refuses with problem documents', async () => {
  const sender = await device(edges[0], 'press-10');
  for (let i = 0; i < 50; i += 1) sender.send({ ts: Date.now(), metrics: { n: i } });
  await sender.whenSettled();
  const token = await platform.keys.token('ada', 'analyst');
  const open = (query: string, headers: Record<string, string> = {}, bearer = token) =>
    openEvents(`${api.url}/api/v1/live?${query}`, bearer, headers);

  const first = await open('devices=press-10&since=now-15m');
  expect(first.response.headers.get('content-type')).toBe('text/event-stream');
  await eventually(() => expect(first.events.some(({ event }) => event === 'caught_up')).toBe(true));
  for (let i = 0; i < 20; i += 1) sender.send({ ts: Date.now(), metrics: { n: i } });
  await eventually(() => expect(new Set(first.seqs()).size).toBe(70));
  expect(first.seqs()).toHaveLength(70);
  const last = first.events.findLast(({ id }) => id !== undefined)!.id!;
  first.end();
  for (let i = 0; i < 20; i += 1) sender.send({ ts: Date.now(), metrics: { n: i } });
  const second = await open('devices=press-10&since=now-15m', { 'last-event-id': last });
  await eventually(() => expect(new Set([...first.seqs(), ...second.seqs()]).size).toBe(90));
  expect(second.events[0]).toMatchObject({ event: 'subscribed', data: { resumed: true } });
  await eventually(async () => expect(await storedOf('press-10')).toHaveLength(90));

  for (const [query, status] of [
    ['pattern=a%20b', 400],
    ['since=now-15m', 400],
    ['devices=press-10&colour=red', 400],
    ['devices=press-11', 403],
  ] as const) {
    const bearer = status === 403 ? await platform.keys.token('press-10', 'device') : token;
    const { response } = await open(query, {}, bearer);
    expect([query, response.status, response.headers.get('content-type')]).toEqual([
      query,
      status,
      'application/problem+json',
    ]);
  }
  const foreign = await open('devices=press-12', { 'last-event-id': last });
  expect(foreign.response.status).toBe(400);
});
