import { decodeEdgeReport, type EdgeReport, edgeReportType } from '@fleetwire/contracts/edge-report';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { connect, consumeWork, ingest, telemetry, token } from './harness.ts';

/** What a stop must not wait for. */
const confirmTimeoutMs = 20_000;
const amqpUrl = await freshVhost();
const reports: EdgeReport[] = [];
await consumeWork(amqpUrl, ({ content, type }) => {
  const report = decodeEdgeReport(content);
  if (type === edgeReportType && report.ok) reports.push(report.value);
});

async function readingsByResult(url: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const samples = text.matchAll(/^fleetwire_ingest_readings_total\{result="(\w+)"\} (\d+)/gm);
  return Object.fromEntries([...samples].map(([, result, count]) => [result, Number(count)]));
}

describe('an edge reports for reconciliation', () => {
  it('its accepted, rejected and nacked readings by device, in numbered reports through an outage up to a last one', async () => {
    const edge = await ingest(amqpUrl, { REPORT_INTERVAL_MS: '100', CONFIRM_TIMEOUT_MS: '1000' });
    const device = await connect(edge.webSocketUrl, { token: await token('pump-1') });
    device.send(telemetry(1));
    device.send({ type: 'telemetry', seq: 2, ts: Date.now(), metrics: { bad: null } });
    device.send({ type: 'telemetry', deviceId: 'pump-2', seq: 3, ts: Date.now(), metrics: { a: 1 } });
    await device.next('ack');
    edge.proxy.cut();
    await eventually(async () => expect((await fetch(`${edge.url}/readyz`)).status).toBe(503));
    device.send(telemetry(4));
    await eventually(() => expect(device.messages).toContainEqual(expect.objectContaining({ type: 'nack', seq: 4 })));
    edge.proxy.resume();
    await eventually(async () => expect((await fetch(`${edge.url}/readyz`)).status).toBe(200));
    device.send(telemetry(5));
    // Its ack goes no further than the nacked reading, and says nothing of this one.
    const metric = await eventually(async () => {
      const counted = await readingsByResult(edge.url);
      expect(counted).toMatchObject({ accepted: 2 });
      return counted;
    });
    await edge.stop();

    await eventually(() => expect(reports.at(-1)?.isLast).toBe(true));
    const unique = [...new Map(reports.map((report) => [report.sequence, report])).values()];
    expect(unique.map(({ sequence }) => sequence)).toEqual(unique.map((_, index) => index + 1));
    expect(new Set(unique.map(({ instanceId }) => instanceId)).size).toBe(1);
    const totals = { accepted: 0, rejected: 0, nacked: 0, unconfirmed: 0 };
    for (const entry of unique.flatMap(({ entries }) => entries)) {
      expect(entry.deviceId).toBe('pump-1');
      for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += entry[name];
    }
    expect(totals).toMatchObject({ accepted: 2, rejected: 2 });
    expect(metric).toEqual({ ...totals, received: totals.accepted + totals.rejected + totals.nacked });
    expect(totals.nacked).toBeGreaterThanOrEqual(1);
  });

  it('for the first time as soon as the broker can be reached, so that an instance that crashes early is known', async () => {
    const known = new Set(reports.map(({ instanceId }) => instanceId));
    await ingest(amqpUrl, { REPORT_INTERVAL_MS: '60000' });
    await eventually(() => expect(reports.filter(({ instanceId }) => !known.has(instanceId))).toHaveLength(1));
  });

  it('and stops without waiting for the confirm timeout when the broker does not confirm its last report', async () => {
    const known = new Set(reports.map(({ instanceId }) => instanceId));
    const edge = await ingest(amqpUrl, { DRAIN_TIMEOUT_MS: '2000', CONFIRM_TIMEOUT_MS: String(confirmTimeoutMs) });
    await eventually(() => expect(reports.filter(({ instanceId }) => !known.has(instanceId))).toHaveLength(1));
    edge.proxy.stall();
    const startedAt = performance.now();
    await edge.stop();
    expect(performance.now() - startedAt).toBeLessThan(confirmTimeoutMs);
  });

  it('and stops in time when its last report cannot be sent, also when stopped twice', async () => {
    const edge = await ingest(amqpUrl, { DRAIN_TIMEOUT_MS: '2000', CONFIRM_TIMEOUT_MS: String(confirmTimeoutMs) });
    edge.proxy.refuse();
    await eventually(async () => expect((await fetch(`${edge.url}/readyz`)).status).toBe(503));
    const startedAt = performance.now();
    await edge.stop();
    expect(performance.now() - startedAt).toBeLessThan(confirmTimeoutMs);
    await edge.stop();
  });
});
