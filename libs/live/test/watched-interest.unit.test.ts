import { describe, expect, it } from 'vitest';
import { WatchedInterest } from '../src/watched-interest.ts';

const names = (count: number, name = 'd') => Array.from({ length: count }, (_, n) => `${name}-${n}`);

describe('the interest that an instance announces', () => {
  it('is announced soon after a quiet time, and then at most four times a second', () => {
    const interest = new WatchedInterest();
    expect(interest.add({ devices: ['a'], patterns: [] })).toBe(true);
    expect(interest.waitMs(1_000)).toBe(20);
    interest.announce(1_020);
    interest.add({ devices: ['b'], patterns: [] });
    expect(interest.waitMs(1_025)).toBe(245);
    interest.announce(1_270);
    expect(interest.waitMs(5_000)).toBe(20);
  });

  it('that shrinks is announced with the next announcement, and does not hold up those who find their filter known', () => {
    const interest = new WatchedInterest();
    interest.add({ devices: ['a', 'b'], patterns: [] });
    expect(interest.announce(0)).toMatchObject({ revision: 1, devices: ['a', 'b'] });
    interest.remove({ devices: ['b'], patterns: [] });
    expect(interest.add({ devices: ['a'], patterns: [] })).toBe(false);
    expect(interest.revision).toBe(1);
    expect(interest.announce(1)).toMatchObject({ revision: 2, devices: ['a'] });
    expect(interest.announce(2)).toMatchObject({ revision: 2 });
    expect(interest.add({ devices: ['b'], patterns: [] })).toBe(true);
    expect(interest.revision).toBe(3);
  });

  it.each([
    ['200 patterns', [], names(200), false],
    ['201 patterns', [], names(201), true],
    ['20,001 devices', names(20_001), [], true],
    ['more than 1 MiB', names(10_000, 'x'.repeat(120)), [], true],
    ['less than 1 MiB', names(10_000, 'x'.repeat(60)), [], false],
  ])('with %s: all is %s', (_what, devices, patterns, all) => {
    const interest = new WatchedInterest();
    interest.add({ devices, patterns });
    const announced = interest.announce(0)!;
    expect(announced.all).toBe(all);
    expect(announced.devices.length + announced.patterns.length).toBe(all ? 0 : devices.length + patterns.length);
  });
});
