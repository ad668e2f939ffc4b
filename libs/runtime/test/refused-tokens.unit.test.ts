import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { clientAddress } from '../src/client-address.ts';
import { createRegistry } from '../src/metrics.ts';
import { createRefusedTokens } from '../src/refused-tokens.ts';

const from = (remoteAddress: string, forwarded?: string) =>
  ({ socket: { remoteAddress }, headers: { 'x-forwarded-for': forwarded } }) as unknown as IncomingMessage;

describe('the address of a client', () => {
  it.each([
    ['10.0.0.1', undefined, 0, '10.0.0.1'],
    ['10.0.0.1', '1.1.1.1, 2.2.2.2', 0, '10.0.0.1'],
    ['10.0.0.1', '1.1.1.1, 2.2.2.2', 1, '2.2.2.2'],
    ['10.0.0.1', '1.1.1.1, 2.2.2.2', 2, '1.1.1.1'],
    ['10.0.0.1', '2.2.2.2', 5, '2.2.2.2'],
    ['::ffff:10.0.0.1', undefined, 0, '10.0.0.1'],
    ['2001:db8::1', undefined, 0, '2001:db8:0:0'],
    ['2001:db8:0:0:ffff::2', undefined, 0, '2001:db8:0:0'],
    ['2001:db8:0:1::2', undefined, 0, '2001:db8:0:1'],
  ])('%s with X-Forwarded-For %s behind %i proxies is %s', (peer, forwarded, hops, address) => {
    expect(clientAddress(from(peer, forwarded), hops)).toBe(address);
  });
});

describe('refused tokens', () => {
  it('of one address are answered with 429 above the limit, until the next minute', async () => {
    let now = 0;
    const registry = createRegistry();
    const refused = createRefusedTokens({ refusedTokensPerMinuteMax: 2, trustProxyHops: 0, registry, now: () => now });
    const answer = (address: string) => refused.answer(from(address), 'no', 'invalid_token').status;
    expect([answer('1.1.1.1'), answer('1.1.1.1'), answer('1.1.1.1')]).toEqual([401, 401, 429]);
    expect(answer('2.2.2.2')).toBe(401);
    expect(refused.answer(from('1.1.1.1'), 'no').status, 'without credentials').toBe(401);
    now = 60_000;
    expect(answer('1.1.1.1')).toBe(401);
    expect(await registry.metrics()).toContain('fleetwire_refused_tokens_total{status="429"} 1');
  });
});
