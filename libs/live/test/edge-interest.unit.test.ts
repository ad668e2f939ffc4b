import { type Interest, liveTypes } from '@fleetwire/contracts/live-message';
import { describe, expect, it } from 'vitest';
import { EdgeInterest } from '../src/edge-interest.ts';
import { matchesGlob } from '../src/glob.ts';

function interest(instanceId: string, of: Partial<Interest> = {}): Interest {
  const type = liveTypes.interest;
  return { type, instanceId, revision: 1, ttlMs: 1_000, all: false, devices: [], patterns: [], ...of };
}

function run(deviceId: string) {
  return { deviceId, epoch: 'b1', receivedAt: 1, readings: [{ seq: 1, ts: 1, metrics: { t: 1 } }] };
}

describe('the interest that an edge keeps', () => {
  it('sends one message for each set of instances that watch the same devices', () => {
    const edge = new EdgeInterest('e');
    edge.apply(interest('w1', { devices: ['a', 'b'] }), 7, 0);
    edge.apply(interest('w2', { devices: ['a'] }), 8, 0);
    edge.apply(interest('w3', { patterns: ['a*'] }), 9, 0);
    const messages = edge.publish(10, [run('a'), run('b'), run('c')]);
    expect(messages).toMatchObject([
      { number: 10, to: { w1: { prev: 7, revision: 1 } }, runs: [{ deviceId: 'a' }, { deviceId: 'b' }] },
      { number: 10, to: { w2: { prev: 8, revision: 1 }, w3: { prev: 9, revision: 1 } }, runs: [{ deviceId: 'a' }] },
    ]);
    expect(edge.publish(11, [run('c')])).toEqual([]);
    expect(edge.publish(12, [run('b')])).toMatchObject([{ to: { w1: { prev: 10 } } }]);
  });

  it('answers a change with its position, and a refresh with nothing', () => {
    const edge = new EdgeInterest('e');
    expect(edge.apply(interest('w', { devices: ['a'] }), 7, 0)).toMatchObject({ number: 7, to: { w: { prev: 7 } } });
    expect(edge.apply(interest('w', { devices: ['a'] }), 8, 900)).toBeUndefined();
    expect(edge.expire(1_000)).toEqual([]);
    expect(edge.apply(interest('w', { devices: ['b'], revision: 2 }), 9, 950)).toMatchObject({
      to: { w: { revision: 2 } },
    });
  });

  it('forgets an interest that is not refreshed, and one that is empty', () => {
    const edge = new EdgeInterest('e');
    edge.apply(interest('w1', { all: true }), 0, 0);
    edge.apply(interest('w2', { devices: ['a'] }), 0, 500);
    edge.apply(interest('w2', { revision: 2 }), 0, 600);
    expect(edge.instances).toBe(1);
    expect(edge.expire(1_000)).toEqual(['w1']);
    expect(edge.isWatched).toBe(false);
  });

  it('tells with the next message that an envelope was skipped', () => {
    const edge = new EdgeInterest('e');
    edge.apply(interest('w', { all: true }), 4, 0);
    edge.skipAll(5);
    expect(edge.position(6)).toMatchObject({ number: 6, to: { w: { prev: 5 } } });
  });
});

describe('a pattern', () => {
  it.each([
    ['press-*', 'press-7', true],
    ['press-*', 'xpress-7', false],
    ['*-7', 'press-7', true],
    ['p?ess-7', 'press-7', true],
    ['p*s*7', 'press-7', true],
    ['p*z*7', 'press-7', false],
    ['', 'a', false],
    ['*', '', true],
  ])('%s on %s: %s', (pattern, name, matches) => {
    expect(matchesGlob(pattern, name)).toBe(matches);
  });

  it('takes no longer than pattern times name, whatever it is', () => {
    expect(matchesGlob('*a*a*a*a*a*a*a*a*b', 'a'.repeat(100_000))).toBe(false);
  });
});
