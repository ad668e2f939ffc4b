import { decodeEdgeReport, type EdgeReport, edgeReportType } from '@fleetwire/contracts/edge-report';
import { positionOf } from '@fleetwire/contracts/envelope-position';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { connect, consumeWork, ingest, telemetry, token } from './harness.ts';

const amqpUrl = await freshVhost();
const reports: EdgeReport[] = [];
const numbers = new Map<string, number[]>();
await consumeWork(amqpUrl, ({ content, headers, type }) => {
  if (type === edgeReportType) {
    const report = decodeEdgeReport(content);
    if (report.ok && !reports.some(({ id }) => id === report.value.id)) reports.push(report.value);
  } else {
    const { instanceId, number } = positionOf(headers)!;
    numbers.set(instanceId, [...(numbers.get(instanceId) ?? []), number]);
  }
});

describe('envelopes of an edge', () => {
  it('are numbered 1, 2, 3 …; numbers that were not confirmed are reported, so that each number is accounted for', async () => {
    const edge = await ingest(amqpUrl, { REPORT_INTERVAL_MS: '100', CONFIRM_TIMEOUT_MS: '1000' });
    const device = await connect(edge.webSocketUrl, { token: await token('pump-1') });
    const acked = (upTo: number) => expect.objectContaining({ type: 'ack', upTo });
    for (let seq = 1; seq <= 5; seq += 1) {
      device.send(telemetry(seq));
      await eventually(() => expect(device.messages).toContainEqual(acked(seq)));
    }
    edge.proxy.stall();
    device.send(telemetry(6));
    await device.next('nack');
    edge.proxy.cut();
    edge.proxy.resume();
    await eventually(async () => expect((await fetch(`${edge.url}/readyz`)).status).toBe(200));
    device.send(telemetry(6));
    await eventually(() => expect(device.messages).toContainEqual(acked(6)));
    const before = Date.now();
    await edge.stop();
    await eventually(() => expect(reports.at(-1)?.isLast).toBe(true));

    const { instanceId, positions } = reports.at(-1)!;
    const queued = numbers.get(instanceId) ?? [];
    const listed = (name: 'unsent' | 'unconfirmed') =>
      reports
        .flatMap((report) => report.positions?.[name] ?? [])
        .flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, index) => first + index));
    expect(listed('unconfirmed').length).toBeGreaterThanOrEqual(1);
    const accounted = new Set([...queued, ...listed('unsent'), ...listed('unconfirmed')]);
    expect([...accounted].sort((a, b) => a - b)).toEqual(Array.from({ length: positions!.last }, (_, i) => i + 1));
    expect(positions!.numberedBefore).toBeGreaterThanOrEqual(before);
  });

  it('start again at 1 under another instance id when the edge is started again', async () => {
    const known = new Set(numbers.keys());
    const edge = await ingest(amqpUrl);
    const device = await connect(edge.webSocketUrl, { token: await token('pump-2') });
    device.send(telemetry(1));
    await device.next('ack');
    await eventually(() =>
      expect([...numbers].filter(([instanceId]) => !known.has(instanceId)).map(([, all]) => all)).toEqual([[1]]),
    );
  });
});
