import type { InstanceBeat } from '@fleetwire/contracts/instance-beat';
import { describe, expect, it } from 'vitest';
import { type HeardInstance, type InstanceFacts, Instances, reportInstances } from '../src/instances.ts';

const start = Date.parse('2026-11-21T13:00:00Z');
const own = {
  service: 'query-api',
  instanceId: 'q1',
  name: 'query-api-1',
  version: '0.1.0',
  startedAt: start,
} as const;
const edge = { ...own, service: 'ingest-ws', instanceId: 'i1', name: 'ingest-1' } as const;

describe('what is heard', () => {
  function hearing() {
    let now = start;
    let hear: (content: unknown) => void = () => {};
    const instances = new Instances({
      broker: { receiveTransient: (_name, _key, onContent) => void (hear = onContent) },
      identity: own,
      activity: () => ({ isWorking: true, handled: 7 }),
      now: () => now,
    });
    const beat = (more: Partial<InstanceBeat> = {}) =>
      hear({ type: 'instance.beat', ...edge, isWorking: true, handled: 0, sockets: 3, ttlMs: 12_000, ...more });
    return { instances, beat, beatOwn: () => beat({ ...own }), wait: (ms: number) => void (now += ms) };
  }

  it('is counted as a rate over at least 5 s', () => {
    const { instances, beat, wait } = hearing();
    const rate = () => instances.heard().find(({ instanceId }) => instanceId === 'i1')?.perSecond;
    beat({ handled: 100 });
    expect(rate()).toBeUndefined();
    wait(3_000);
    beat({ handled: 400 });
    expect(rate()).toBeUndefined();
    wait(3_000);
    beat({ handled: 700 });
    expect(rate()).toBe(100);
    wait(6_000);
    beat({ handled: 700 });
    expect(rate()).toBe(0);
  });

  it('of the edges says how many sockets there are, and whether readings are acknowledged by each', () => {
    const { instances, beat, wait } = hearing();
    expect(instances.readEdges()).toEqual({ sockets: 0, isAcknowledging: false });
    beat();
    beat({ instanceId: 'i2', sockets: 4 });
    expect(instances.readEdges()).toEqual({ sockets: 7, isAcknowledging: true });
    beat({ instanceId: 'i2', sockets: 4, isWorking: false });
    expect(instances.readEdges()).toEqual({ sockets: 7, isAcknowledging: false });
    beat({ instanceId: 'i2', ttlMs: 0 });
    expect(instances.readEdges()).toEqual({ sockets: 3, isAcknowledging: true });
    wait(12_000);
    expect(instances.readEdges()).toEqual({ sockets: 0, isAcknowledging: false });
  });

  it('is of all that run once the beats of this process have come back for 15 s, and again after they stayed away', () => {
    const { instances, beatOwn, wait } = hearing();
    const state = () => [instances.isConnected, instances.hearsAll];
    expect(state()).toEqual([false, false]);
    beatOwn();
    expect(state()).toEqual([true, false]);
    for (let beats = 0; beats < 5; beats += 1) {
      wait(3_000);
      beatOwn();
    }
    expect(state()).toEqual([true, true]);
    wait(12_000);
    expect(state()).toEqual([false, false]);
    beatOwn();
    expect(state()).toEqual([true, false]);
  });

  it('is forgotten a day after the last beat', () => {
    const { instances, beat, wait } = hearing();
    const ids = () => instances.heard().map(({ instanceId }) => instanceId);
    beat();
    wait(86_400_000);
    expect(ids()).toEqual(['i1', 'q1']);
    wait(1);
    expect(ids()).toEqual(['q1']);
  });

  it('is at least this process, and no message that is none', () => {
    const { instances, beat } = hearing();
    beat({ service: 'postgres' as 'ingest-ws' });
    beat({ handled: -1 });
    expect(instances.heard()).toMatchObject([{ instanceId: 'q1', handled: 7, isFinished: false }]);
  });
});

describe('the report', () => {
  const now = start + 600_000;
  const heard = (more: Partial<HeardInstance> = {}): HeardInstance => ({
    ...edge,
    isWorking: true,
    handled: 1,
    heardAt: now - 1_000,
    expiresAt: now + 11_000,
    isFinished: false,
    perSecond: 10,
    ...more,
  });
  const stored = { ...edge, seenAt: now - 60_000, isFinished: false };
  const report = (facts: Partial<InstanceFacts>) =>
    reportInstances({ heard: [], stored: [], acknowledged: [], hearsAll: true, now, ...facts });
  const states = (facts: Partial<InstanceFacts>) => report(facts).map(({ name, state }) => `${name} ${state}`);
  const silent = heard({ heardAt: now - 13_000, expiresAt: now - 1_000 });

  it('says what each does', () => {
    expect(states({ heard: [heard()] })).toEqual(['ingest-1 running']);
    expect(states({ heard: [heard({ isWorking: false })] })).toEqual(['ingest-1 holding']);
    expect(states({ heard: [silent] })).toEqual(['ingest-1 stopped']);
    expect(states({ heard: [heard({ isFinished: true, expiresAt: now - 1_000 })] })).toEqual(['ingest-1 finished']);
    expect(states({ stored: [stored] })).toEqual(['ingest-1 stopped']);
    expect(states({ stored: [{ ...stored, isFinished: true }] })).toEqual(['ingest-1 finished']);
    expect(states({ stored: [stored], heard: [heard()] })).toEqual(['ingest-1 running']);
  });

  it('calls nothing stopped while the silence may be that of the broker', () => {
    expect(states({ heard: [silent], hearsAll: false })).toEqual(['ingest-1 unknown']);
    expect(states({ stored: [stored], hearsAll: false })).toEqual(['ingest-1 unknown']);
    expect(states({ heard: [heard()], hearsAll: false })).toEqual(['ingest-1 running']);
  });

  it('leaves out one that has ended when another has started under its name since, and no other', () => {
    const successor = heard({ instanceId: 'i2', startedAt: now - 5_000 });
    expect(states({ heard: [silent, successor] })).toEqual(['ingest-1 running']);
    expect(states({ stored: [stored], heard: [successor] })).toEqual(['ingest-1 running']);
    const twin = heard({ instanceId: 'i2' });
    expect(states({ heard: [silent, twin] })).toEqual(['ingest-1 running', 'ingest-1 stopped']);
    const other = heard({ instanceId: 'i2', startedAt: now - 5_000, service: 'query-api' });
    expect(states({ heard: [silent, other] })).toEqual(['ingest-1 stopped', 'ingest-1 running']);
  });

  it('knows which stopped ones an operator has acknowledged: their last report was at most a minute before they were heard last', () => {
    const at = silent.heardAt;
    const acknowledgedBy = (from: number, to: number) =>
      report({ heard: [silent], acknowledged: [{ from, to }] })[0]!.isAcknowledged;
    expect(acknowledgedBy(at - 1_000, at + 1_000)).toBe(true);
    expect(acknowledgedBy(at - 120_000, at - 59_000)).toBe(true);
    expect(acknowledgedBy(at - 120_000, at - 60_000)).toBe(false);
    expect(acknowledgedBy(at + 1, at + 1_000)).toBe(false);
    expect(report({ heard: [heard()], acknowledged: [{ from: 0, to: now }] })[0]!.isAcknowledged).toBe(false);
  });
});
