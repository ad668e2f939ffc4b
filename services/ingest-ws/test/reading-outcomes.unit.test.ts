import type { Claims } from '@fleetwire/contracts/access';
import { parseDeviceFrame } from '@fleetwire/contracts/device-protocol';
import type { EdgeReportEntry } from '@fleetwire/contracts/edge-report';
import { createRegistry } from '@fleetwire/runtime/metrics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission } from '../src/admission.ts';
import { AutoSequence } from '../src/auto-sequence.ts';
import { createIngestMetrics } from '../src/metrics.ts';
import { ReadingOutcomes, type Submission } from '../src/reading-outcomes.ts';
import { ReconciliationCounts } from '../src/reconciliation-counts.ts';
import { BrokerOutage } from '../src/broker-outage.ts';
import { brokerUnavailable } from '../src/nack-reasons.ts';

const now = Date.UTC(2026, 10, 21, 12);
const device: Claims = { sub: 'pump-1', role: 'device' };
const gateway: Claims = { sub: 'gateway', role: 'admin' };

function edge() {
  const registry = createRegistry();
  const metrics = createIngestMetrics(registry);
  const reconciliation = new ReconciliationCounts({ devicesMax: 100, minutesMax: 10 });
  const outcomes = new ReadingOutcomes(metrics.readings, reconciliation);
  const admission = new Admission({ autoSequence: new AutoSequence({ devicesMax: 100 }), outcomes, metrics });
  const counted = async (): Promise<Record<string, number>> => {
    const metric = await registry.getSingleMetric('fleetwire_ingest_readings_total')!.get();
    return Object.fromEntries(metric.values.map(({ labels, value }) => [labels['result'], value]));
  };
  return { admission, outcomes, reconciliation, counted };
}

function sum(entries: readonly EdgeReportEntry[], name: 'accepted' | 'rejected' | 'nacked' | 'unconfirmed'): number {
  return entries.reduce((total, entry) => total + entry[name], 0);
}

const reading = fc.constantFrom({ ts: now, value: 1 }, { ts: now, value: 2 }, { ts: 5, value: 3 }, { ts: now });
const frame = fc.record(
  {
    type: fc.constant('telemetry' as const),
    deviceId: fc.constantFrom('pump-1', 'pump-2'),
    seq: fc.nat({ max: 1_000 }),
    epoch: fc.constantFrom('e', 'f'),
    readings: fc.array(reading, { minLength: 1, maxLength: 5 }),
  },
  { requiredKeys: ['type', 'readings'] },
);
const step = fc.record({
  frame,
  claims: fc.constantFrom(device, gateway),
  sessionEpoch: fc.constantFrom('session-1', undefined),
  end: fc.constantFrom('accept', 'nack', 'nack-unconfirmed', 'accept-then-nack', 'in-flight'),
});

describe('each reading that an edge receives', () => {
  it('is accepted, rejected or nacked once, in the metric and in the reconciliation, over any mixture of frames', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { admission, outcomes, reconciliation, counted } = edge();
        const expected = { received: 0, accepted: 0, rejected: 0, nacked: 0, unconfirmed: 0 };
        let inFlight = 0;
        for (const { frame: sent, claims, sessionEpoch, end } of steps) {
          const parsed = parseDeviceFrame(JSON.stringify(sent), now);
          if (!parsed.ok || parsed.value.type !== 'telemetry') continue;
          expected.received += sent.readings.length;
          const sender = { claims, ...(sessionEpoch === undefined ? {} : { epoch: sessionEpoch }) };
          const admitted = admission.admit(parsed.value.telemetry, sender, now);
          const readings = admitted.ok ? admitted.run.readings.length : 0;
          expected.rejected += sent.readings.length - readings;
          if (!admitted.ok) continue;

          const settled: unknown[] = [];
          const arrival = { runs: [admitted.run], bytes: 1, source: { sessionId: 's' } };
          const submission: Submission = outcomes.receive(arrival, (nackReason) => settled.push(nackReason));
          if (end === 'in-flight') inFlight += readings;
          else if (end.startsWith('accept')) expected.accepted += readings;
          else expected.nacked += readings;
          if (end === 'nack-unconfirmed') expected.unconfirmed += readings;
          if (end.startsWith('accept')) submission.accept();
          if (end.includes('nack')) submission.nack(brokerUnavailable(new BrokerOutage()), end === 'nack-unconfirmed');
          expect(settled).toHaveLength(end === 'in-flight' ? 0 : 1);
        }

        const metric = await counted();
        expect(metric).toEqual(expected);
        expect(metric['received']).toBe(metric['accepted']! + metric['rejected']! + metric['nacked']! + inFlight);
        const entries = reconciliation.drain();
        for (const name of ['accepted', 'rejected', 'nacked', 'unconfirmed'] as const)
          expect(sum(entries, name)).toBe(expected[name]);
        expect(sum(entries, 'accepted') + sum(entries, 'rejected') + sum(entries, 'nacked') + inFlight).toBe(
          expected.received,
        );
      }),
    );
  });

  it('counts for the sender, not for the device it claims to be from, when the sender may not publish it', () => {
    const { admission, reconciliation } = edge();
    const parsed = parseDeviceFrame(
      JSON.stringify({ type: 'telemetry', deviceId: 'pump-2', seq: 1, ts: now, value: 1 }),
      now,
    );
    if (!parsed.ok || parsed.value.type !== 'telemetry') throw new Error('not telemetry');
    expect(admission.admit(parsed.value.telemetry, { claims: device, epoch: 'e' }, now)).toMatchObject({
      ok: false,
      issue: { code: 'forbidden' },
    });
    expect(reconciliation.drain()).toMatchObject([{ deviceId: 'pump-1', rejected: 1, accepted: 0, nacked: 0 }]);
  });

  it('takes no number where all readings of an element without a seq are refused', () => {
    const { admission } = edge();
    const admit = (value: unknown) => {
      const parsed = parseDeviceFrame(JSON.stringify({ type: 'telemetry', ...(value as object) }), now);
      if (!parsed.ok || parsed.value.type !== 'telemetry') throw new Error('not telemetry');
      return admission.admit(parsed.value.telemetry, { claims: device }, now);
    };
    expect(admit({ value: 1 })).toMatchObject({ ok: true, first: 1 });
    expect(admit({ value: null })).toEqual({ ok: false });
    expect(admit({ value: 2 })).toMatchObject({ ok: true, first: 2 });
  });
});
