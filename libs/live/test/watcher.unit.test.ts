import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLogger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { readConfiguration } from '@fleetwire/runtime/configuration';
import { afterAll, describe, expect, it } from 'vitest';
import { liveVariables } from '../src/live-variables.ts';
import type { LiveOutput } from '../src/outlet.ts';
import { startLive } from '../src/start-live.ts';
import { Watcher } from '../src/watcher.ts';

const head = '{"installation":"1:1","edgesKnown":0,"keys":{},"settled":{},"closed":{},"completeUntil":null}\n';
const row = (seq: number): string =>
  `${JSON.stringify({ deviceId: 'd', epoch: 'e', seq, ts: '2026-11-21', receivedAt: '2026-11-21', metrics: { t: 1 } })}\n`;

/** A subscriber that reads nothing. */
class Stalled extends EventEmitter {
  readonly outputs: LiveOutput[] = [];
  queuedBytes = 0;
  closedWith: [code: number, reason: string] | undefined;

  write(output: LiveOutput): void {
    this.outputs.push(output);
    this.queuedBytes += output.members.length;
  }

  close(...closedWith: [number, string]): void {
    this.closedWith ??= closedWith;
    this.emit('closed');
  }
}

describe('the watcher of a subscriber that does not read', async () => {
  const server = createServer((_request, response) => {
    response.write(head);
    for (let seq = 0; seq < 20_000; seq += 1) response.write(row(seq));
    response.end('{"end":20000}\n');
  });
  server.listen(0);
  await once(server, 'listening');
  const config = readConfiguration(liveVariables, {
    WATCHER_BYTES_MAX: '65536',
    WATCHER_SLOW_MS_MAX: '300',
    SUBSCRIPTIONS_PER_CALLER_MAX: '2',
  });
  // No broker is there, which live subscriptions outlast.
  const live = startLive({
    config: { ...config, amqpUrl: 'amqp://localhost:1' },
    service: 'test',
    queryApiUrl: `http://localhost:${(server.address() as AddressInfo).port}`,
    logger: await createLogger({ name: 'test', level: 'silent' }),
    registry: createRegistry(),
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await live.close();
  });
  const claims = { sub: 'anonymous', role: 'analyst' } as const;

  it('closes it with 1013 when its history cannot be written for WATCHER_SLOW_MS_MAX', async () => {
    const outlet = new Stalled();
    const watcher = new Watcher(live.hub, { claims, token: 'a token' }, outlet);
    const closed = once(outlet, 'closed');
    void watcher.subscribe({ type: 'subscribe', id: 's', devices: ['d'], since: '2026-11-20T00:00:00Z' });
    await closed;
    expect(outlet.closedWith).toEqual([1013, expect.stringContaining('WATCHER_SLOW_MS_MAX')]);
    expect(outlet.queuedBytes).toBeLessThan(128 * 1024);
  });

  it('closes it when it does not read the answers to its frames', () => {
    const outlet = new Stalled();
    const watcher = new Watcher(live.hub, { claims, token: 'a token' }, outlet);
    for (let n = 0; n < 5_000; n += 1) watcher.unsubscribe({ type: 'unsubscribe', id: 'none' });
    expect(outlet.closedWith?.[0]).toBe(1013);
    expect(outlet.queuedBytes).toBeGreaterThan(64 * 1024);
  });

  it('bounds the subscriptions of a token whose subject is "anonymous", and not those of open mode', () => {
    const refused = (token: string | undefined): number => {
      const outlet = new Stalled();
      const watcher = new Watcher(live.hub, { claims, token }, outlet);
      for (let n = 0; n < 3; n += 1) void watcher.subscribe({ type: 'subscribe', id: `s${n}`, devices: ['d'] });
      watcher.close();
      return outlet.outputs.filter(({ members }) => members.includes('too-many-subscriptions')).length;
    };
    expect(refused('a token')).toBe(1);
    expect(refused(undefined)).toBe(0);
  });
});
