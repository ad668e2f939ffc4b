import { describe, expect, it } from 'vitest';
import type { LiveMessage, Subscription } from '../src/live-messages.ts';
import { Recovery } from '../src/recovery.ts';

const device: Subscription = { devices: ['a'], since: '2026-11-21T12:00:00Z' };
const console_: Subscription = { pattern: '*', mode: 'complete' };
const newest: Subscription = { devices: ['a'], mode: 'latest', maxRateHz: 4 };
const presence: Subscription = { pattern: '*', events: ['presence', 'registry'] };

const caughtUp: LiveMessage = { type: 'caught_up', id: 'd1', readings: 3 };
const allPresent: LiveMessage = { type: 'present', id: 'd2', devices: 2, complete: true };
const edgeEnded: LiveMessage = {
  type: 'pending',
  id: 'd1',
  pendingId: 'p1',
  reason: 'edge-ended',
  acceptedBefore: null,
};

function recovery(subscriptions: Record<string, Subscription>, hasCursor = true): Recovery {
  return new Recovery(
    1_000,
    3_100,
    new Map(Object.entries(subscriptions).map(([id, subscription]) => [id, { subscription, hasCursor }])),
  );
}

describe('after a break', () => {
  it('nothing is missing once every subscription has gone on at its cursor and caught up, and presence is there', () => {
    const back = recovery({ d1: device, d2: presence });
    expect(back.verdict).toBe('reading');
    back.hear(allPresent);
    expect(back.verdict).toBe('reading');
    back.hear({ ...caughtUp, pendingId: 'p2' });
    expect(back.verdict).toBe('reading');
    back.hear(caughtUp);
    expect(back.verdict).toBe('resumed');
  });

  it('a subscription whose cursor the server does not know reads history again; where it has none, readings are missing', () => {
    const back = recovery({ d1: device });
    back.loseCursor(device);
    back.hear(caughtUp);
    expect(back.verdict).toBe('read-again');
    const log = recovery({ d1: console_ });
    log.loseCursor(console_);
    log.hear(caughtUp);
    expect(log.verdict).toBe('missing');
  });

  it('an expired cursor is history read again, and readings that are deleted are missing', () => {
    const gap = { type: 'gap', id: 'd1', gapId: 'cursor', from: null, to: null } as const;
    const expired = recovery({ d1: device });
    expired.hear({ ...gap, reason: 'cursor-expired' });
    expired.hear(caughtUp);
    expect(expired.verdict).toBe('read-again');
    const deleted = recovery({ d1: device });
    deleted.hear({ ...gap, reason: 'before-retention' });
    deleted.hear(caughtUp);
    expect(deleted.verdict).toBe('missing');
  });

  it('a subscription that had no cursor yet begins again', () => {
    const back = recovery({ d1: device }, false);
    back.hear(caughtUp);
    expect(back.verdict).toBe('read-again');
  });

  it('what an ended instance had accepted last is not called complete', () => {
    const back = recovery({ d1: device });
    back.hear(edgeEnded);
    back.hear(caughtUp);
    expect(back.verdict).toBe('resumed-edge-ended');
    const closed = recovery({ d1: device });
    closed.hear(edgeEnded);
    closed.hear({ ...caughtUp, pendingId: 'p1' });
    closed.hear(caughtUp);
    expect(closed.verdict).toBe('resumed');
  });

  it('a page of newest values and presence claims these only', () => {
    const back = recovery({ d1: newest, d2: presence });
    expect(back.verdict).toBe('reading');
    back.hear(allPresent);
    expect(back.verdict).toBe('present');
    expect(recovery({ d1: newest }).verdict).toBe('present');
  });

  it('a subscription that the page or the server ends is not waited for', () => {
    const left = recovery({ d1: device, d2: presence });
    left.end('d1');
    left.hear(allPresent);
    expect(left.verdict).toBe('present');
    const failed = recovery({ d1: device });
    failed.hear({ type: 'unsubscribed', id: 'd1', reason: 'failed' });
    expect(failed.verdict).toBe('missing');
  });

  it('a second break keeps what was not made good before it', () => {
    const first = recovery({ d1: device });
    first.loseCursor(device);
    const second = new Recovery(9_000, 9_500, new Map([['d1', { subscription: device, hasCursor: true }]]), first);
    second.hear(caughtUp);
    expect([second.lostAt, second.verdict]).toEqual([1_000, 'read-again']);
  });
});
