import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { createHistoryClient } from '../src/history-client.ts';
import { LiveFilter } from '../src/live-filter.ts';

it('a part of a history has at most 500 rows, and little more than 256 KiB', async () => {
  const row = (seq: number, text: string) =>
    JSON.stringify({ deviceId: 'd', epoch: 'e', seq, ts: '2026-11-21', receivedAt: '2026-11-21', metrics: { text } });
  const rows = Array.from({ length: 700 }, (_, seq) => row(seq, seq < 600 ? 'x' : 'x'.repeat(100_000)));
  const head = '{"installation":"1:1","edgesKnown":0,"keys":{},"settled":{},"closed":{},"completeUntil":null}';
  const server = createServer((_request, response) => response.end([head, ...rows, '{"end":700}\n'].join('\n')));
  server.listen(0);
  await once(server, 'listening');
  const client = createHistoryClient(`http://localhost:${(server.address() as AddressInfo).port}`);
  const question = { first: true, ranges: {}, edgesKnown: 0 };
  const { signal } = new AbortController();
  const parts: number[] = [];
  let bytesMax = 0;
  for await (const part of client.read(question, {
    filter: new LiveFilter({ devices: ['d'] }),
    start: { since: '2026-11-20T00:00:00Z' },
    token: undefined,
    signal,
  })) {
    if (!('rows' in part)) continue;
    parts.push(part.rows.length);
    bytesMax = Math.max(bytesMax, JSON.stringify(part.rows).length);
  }
  expect(parts.reduce((sum, count) => sum + count, 0)).toBe(700);
  expect(parts[0]).toBe(500);
  expect(bytesMax).toBeLessThan(256 * 1024 + 110_000);
  server.close();
});
