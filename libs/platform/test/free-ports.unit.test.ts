import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { freePorts } from '../src/processes/free-ports.ts';

describe('free ports', () => {
  it('gives every name a port of its own', async () => {
    const ports = await freePorts(['one', 'two', 'three']);
    expect(new Set(Object.values(ports)).size).toBe(3);
  });

  it('chooses no port of the ephemeral range of the operating system', async () => {
    const names = Array.from({ length: 50 }, (_, index) => `port-${index}`);
    expect(Math.max(...Object.values(await freePorts(names)))).toBeLessThan(32_768);
  });

  it('gives the preferred port where it is free', async () => {
    const { first } = await freePorts(['first']);
    expect(await freePorts(['again'], { again: first })).toEqual({ again: first });
  });

  it('gives another port where the preferred one is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const { other } = await freePorts(['other'], { other: port });
    expect(other).not.toBe(port);
    taken.close();
  });
});
