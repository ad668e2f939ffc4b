import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { edgeLeaseMs, Presence, reconnectGraceMs } from '../src/presence.ts';
import type { EndedSessionFact, PresenceFact, SessionFact } from '../src/presence-facts.ts';

const at = (monotonic: number) => ({ monotonic, wall: 1_000_000 + monotonic });
const attributes = { id: 'f', schemaVersion: '1.0', occurredAt: 0, leaseMs: edgeLeaseMs };
const session = (sessionId: string, deviceId = 'press-7', startedAt = 100): SessionFact => ({
  sessionId,
  deviceId,
  epoch: 'b1',
  startedAt,
});
const ended = (fact: SessionFact, reason: EndedSessionFact['reason'], endedAt = 200): EndedSessionFact => ({
  ...fact,
  reason,
  endedAt,
});
const changed = (
  edge: string,
  {
    started = [],
    ended: ends = [],
    generation = 1,
  }: { started?: SessionFact[]; ended?: EndedSessionFact[]; generation?: number },
): PresenceFact => ({ ...attributes, type: 'sessions.changed', edge, generation, started, ended: ends });
const beat = (edge: string, generation = 1): PresenceFact => ({ ...attributes, type: 'edge.beat', edge, generation });

function after(facts: readonly PresenceFact[], now = 0): Presence {
  const presence = new Presence();
  for (const fact of facts) presence.apply(fact, at(now));
  presence.advance(at(now));
  return presence;
}

const status = (presence: Presence, deviceId = 'press-7') => {
  const found = presence.ofDevice(deviceId);
  return found === undefined ? undefined : `${found.status}: ${found.reason}`;
};

describe('presence', () => {
  it('shows a device online while it has a session, and offline with the reason of its end', () => {
    const presence = after([changed('a', { started: [session('s1')] })]);
    expect(presence.ofDevice('press-7')).toEqual({
      deviceId: 'press-7',
      status: 'online',
      reason: 'connected',
      since: 100,
      sessions: 1,
    });
    presence.apply(changed('a', { ended: [ended(session('s1'), 'network')] }), at(1));
    expect(presence.ofDevice('press-7')).toMatchObject({ status: 'offline', reason: 'network', since: 200 });
  });

  it('keeps a device online when the end of its old session comes after the start of the new one', () => {
    const presence = after([
      changed('a', { started: [session('s1')] }),
      changed('b', { started: [session('s2', 'press-7', 150)] }),
      changed('a', { ended: [ended(session('s1'), 'network', 900)] }),
    ]);
    expect(presence.ofDevice('press-7')).toMatchObject({ status: 'online', since: 150, sessions: 1 });
  });

  it('lets an end win that comes before the start', () => {
    const [start, end] = [{ started: [session('s1')] }, { ended: [ended(session('s1'), 'replaced')] }];
    expect(status(after([changed('a', end), changed('a', start)]))).toBe('offline: replaced');
  });

  it('ends the sessions of an edge whose lease is over, and only these', () => {
    const presence = after([
      changed('a', { started: [session('s1'), session('s3', 'press-8')] }),
      changed('b', { started: [session('s2')] }),
    ]);
    presence.apply(beat('b'), at(5_000));
    presence.advance(at(edgeLeaseMs - 1));
    expect(status(presence, 'press-8')).toBe('online: connected');
    presence.clearChanges();
    presence.advance(at(edgeLeaseMs));
    expect(presence.changes().devices).toMatchObject([
      { deviceId: 'press-7', status: 'online', sessions: 1 },
      { deviceId: 'press-8', status: 'offline', reason: 'edge-lost', since: 1_000_000 + edgeLeaseMs },
    ]);
  });

  it('does not revive a lost generation: only sessions that the edge announces in a new one are open again', () => {
    const presence = after([changed('a', { started: [session('s1'), session('s2', 'press-8')] })]);
    presence.advance(at(edgeLeaseMs));
    presence.apply(beat('a', 1), at(edgeLeaseMs + 1));
    presence.apply(changed('a', { started: [session('s4', 'press-9')] }), at(edgeLeaseMs + 1));
    presence.advance(at(edgeLeaseMs + 1));
    expect([status(presence), status(presence, 'press-9')]).toEqual(['offline: edge-lost', undefined]);
    presence.apply(changed('a', { started: [session('s1')], generation: 2 }), at(edgeLeaseMs + 2));
    presence.apply(beat('a', 2), at(edgeLeaseMs + 2));
    presence.advance(at(edgeLeaseMs + 2));
    expect([status(presence), status(presence, 'press-8')]).toEqual(['online: connected', 'offline: edge-lost']);
  });

  it('shows a device as reconnecting for a limited time after its instance was stopped in order', () => {
    const presence = after([changed('a', { ended: [ended(session('s1'), 'instance-stopped')] })]);
    expect(status(presence)).toBe('online: reconnecting');
    presence.clearChanges();
    presence.advance(at(reconnectGraceMs));
    expect(presence.changes().devices).toMatchObject([{ status: 'offline', reason: 'instance-stopped' }]);
  });

  it('continues from stored connections: open sessions stay open while their edge beats, and ends stay final', () => {
    const before = after([
      changed('a', { started: [session('s1'), session('s2', 'press-8')] }),
      changed('b', { started: [session('s3', 'press-9')] }),
      changed('a', { ended: [ended(session('s2', 'press-8'), 'closed-by-device')] }),
    ]);
    const presence = Presence.restored(before.changes().connections, at(50_000));
    presence.apply(beat('a'), at(55_000));
    presence.apply(changed('a', { started: [session('s2', 'press-8')] }), at(55_000));
    presence.advance(at(50_000 + edgeLeaseMs));
    expect(['press-7', 'press-8', 'press-9'].map((deviceId) => status(presence, deviceId))).toEqual([
      'online: connected',
      'offline: closed-by-device',
      'offline: edge-lost',
    ]);
  });

  it('reaches the same state whatever the order in which facts arrive, and however often', () => {
    const sessions = fc.array(
      fc.record({
        device: fc.constantFrom('press-1', 'press-2', 'press-3'),
        edge: fc.constantFrom('a', 'b', 'c'),
        startedAt: fc.integer({ min: 0, max: 20 }),
        generations: fc.subarray([1, 2, 3], { minLength: 1 }),
        end: fc.option(
          fc.record({
            reason: fc.constantFrom('network', 'replaced', 'instance-stopped'),
            at: fc.integer({ min: 20, max: 40 }),
            generation: fc.constantFrom(1, 2, 3),
          }),
        ),
      }),
      { minLength: 1, maxLength: 8 },
    );
    const beats = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom(1, 2, 3)), { maxLength: 4 });
    const facts = fc.tuple(sessions, beats).map(([all, beating]) => [
      ...all.flatMap(({ device, edge, startedAt, generations, end }, index) => {
        const one = session(`s${index}`, device, startedAt);
        return [
          ...generations.map((generation) => changed(edge, { started: [one], generation })),
          ...(end === null
            ? []
            : [changed(edge, { ended: [ended(one, end.reason, end.at)], generation: end.generation })]),
        ];
      }),
      ...beating.map(([edge, generation]) => beat(edge, generation)),
    ]);
    const orders = facts.chain((all) =>
      fc.tuple(
        fc.constant(all),
        fc.shuffledSubarray(all, { minLength: all.length }),
        fc.subarray(all),
        fc.integer({ min: 0, max: 20 }),
      ),
    );
    const outcome = (presence: Presence) => ({
      devices: ['press-1', 'press-2', 'press-3'].map((deviceId) => presence.ofDevice(deviceId)),
      connections: presence.changes().connections.toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1)),
    });
    fc.assert(
      fc.property(orders, ([all, shuffled, again, advancedAfter]) => {
        const presence = new Presence();
        for (const [index, fact] of [...shuffled, ...again].entries()) {
          presence.apply(fact, at(0));
          if (index === advancedAfter) presence.advance(at(0));
        }
        presence.advance(at(0));
        expect(outcome(presence)).toEqual(outcome(after(all)));
      }),
      { numRuns: 2_000 },
    );
  });
});
