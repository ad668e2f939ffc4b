import type { LiveDevice } from '@fleetwire/contracts/live-devices';
import { describe, expect, it } from 'vitest';
import { DeviceEvents } from '../src/device-events.ts';
import { LiveFilter } from '../src/live-filter.ts';

const online = (deviceId: string, since = 1) => ({ deviceId, status: 'online', reason: 'connected', since }) as const;

/** A subscription whose present state is read, and whose subscriber takes more, when the test says so. */
function watching({
  present = [] as LiveDevice[],
  presentMax = 10,
  entriesMax = 3,
  kinds = ['presence'] as ('presence' | 'commands')[],
} = {}) {
  const written: [string, Record<string, unknown>][] = [];
  const reading = Promise.withResolvers<void>();
  let room = Promise.withResolvers<void>();
  let isFull = false;
  let isTooMuch = false;
  const events = new DeviceEvents({
    filter: new LiveFilter({ pattern: 'd*' }),
    selected: undefined,
    events: kinds,
    client: {
      async *read() {
        await reading.promise;
        yield* present;
      },
    },
    token: () => undefined,
    presentMax,
    entriesMax,
    write: (type, members) => written.push([type, JSON.parse(`{${members}}`) as Record<string, unknown>]),
    onTooManyEntries: () => (isTooMuch = true),
    whenRoom: () => (isFull ? room.promise : undefined),
  });
  const presented = events.present();
  return {
    events,
    written,
    read: async () => {
      reading.resolve();
      await presented;
    },
    stall: () => {
      isFull = true;
      room = Promise.withResolvers();
    },
    goOn: async () => {
      isFull = false;
      room.resolve();
      await room.promise;
      await Promise.resolve();
    },
    get isTooMuch() {
      return isTooMuch;
    },
  };
}

const presence = { status: 'offline', reason: 'network', since: '2026-11-21T00:00:00.000Z' };

describe('the events of devices', () => {
  it('come after the present state, which may be older than they are', async () => {
    const one = watching({ present: [{ deviceId: 'd1', version: 0, presence }] });
    one.events.hearPresence(online('d1'));
    expect(one.written).toEqual([]);
    await one.read();
    expect(one.written.map(([type, { status }]) => [type, status])).toEqual([
      ['presence', 'offline'],
      ['present', undefined],
      ['presence', 'online'],
    ]);
  });

  it('are those of matching devices', async () => {
    const one = watching();
    await one.read();
    one.events.hearPresence(online('other'));
    one.events.hearPresence(online('d1'));
    expect(one.written.slice(1)).toMatchObject([['presence', { deviceId: 'd1' }]]);
  });

  it('tell at most so many devices of the present state, and say that there are more', async () => {
    const present = ['d1', 'd2', 'd3'].map((deviceId) => ({ deviceId, version: 0, presence }));
    const one = watching({ present, presentMax: 2 });
    await one.read();
    expect(one.written.map(([type]) => type)).toEqual(['presence', 'presence', 'present']);
    expect(one.written.at(-1)).toEqual(['present', { devices: 2, complete: false }]);
  });

  it('are the newest of each device once the subscriber reads again', async () => {
    const one = watching();
    await one.read();
    one.stall();
    for (let since = 1; since <= 50; since += 1) one.events.hearPresence(online('d1', since));
    one.events.hearPresence(online('d2'));
    expect(one.written).toHaveLength(1);
    await one.goOn();
    expect(one.written.slice(1).map(([, { deviceId, since }]) => [deviceId, since])).toEqual([
      ['d1', '1970-01-01T00:00:00.050Z'],
      ['d2', '1970-01-01T00:00:00.001Z'],
    ]);
  });

  it('of commands are changes only, of matching devices, and while the subscriber does not read the newest of each command', async () => {
    const change = (commandId: string, state: string, deviceId = 'd1') =>
      ({ commandId, deviceId, command: 'set', state, mode: 'now', attempts: 1, jobId: null, at: 0 }) as const;
    const none = watching();
    await none.read();
    none.events.hearCommand(change('c1', 'sent'));
    expect(none.written.map(([type]) => type)).toEqual(['present']);
    const one = watching({ kinds: ['commands'], present: [{ deviceId: 'd1', version: 0, presence }] });
    await one.read();
    one.events.hearPresence(online('d1'));
    one.events.hearCommand(change('c1', 'sent', 'other'));
    one.stall();
    for (const state of ['sent', 'delivered', 'succeeded']) one.events.hearCommand(change('c1', state));
    one.events.hearCommand(change('c2', 'sent'));
    await one.goOn();
    expect(one.written).toEqual([
      ['present', { devices: 0, complete: false }],
      ['command', { ...change('c1', 'succeeded'), at: '1970-01-01T00:00:00.000Z' }],
      ['command', { ...change('c2', 'sent'), at: '1970-01-01T00:00:00.000Z' }],
    ]);
  });

  it('of more devices than may wait end the subscription', async () => {
    const one = watching({ entriesMax: 3 });
    await one.read();
    one.stall();
    for (const id of ['d1', 'd2', 'd3']) one.events.hearPresence(online(id));
    expect(one.isTooMuch).toBe(false);
    one.events.hearPresence(online('d4'));
    expect(one.isTooMuch).toBe(true);
  });
});
