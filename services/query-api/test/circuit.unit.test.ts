import { eventually } from '@fleetwire/platform/testing/eventually';
import { createLogger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { afterEach, describe, expect, it } from 'vitest';
import { circuitGauge, createCircuit, type Circuit } from '../src/circuit.ts';

const registry = createRegistry();
const gauge = circuitGauge(registry);
const logger = await createLogger({ name: 'test', level: 'silent' });
let circuit: Circuit;
afterEach(() => circuit.stop());

const create = (changes = {}) =>
  (circuit = createCircuit({
    name: 'history',
    timeoutMs: 1_000,
    resetMs: 100,
    volumeThreshold: 3,
    windowMs: 10_000,
    inFlightMax: 2,
    isOutage: (error) => (error as Error).message === 'away',
    logger,
    gauge,
    ...changes,
  }));
const away = () => Promise.reject(new Error('away'));
const reading = () => Promise.resolve('rows');
const stateMetric = async () => (await gauge.get()).values.find(({ labels }) => labels.name === 'history')?.value;

describe('a circuit', () => {
  it('opens after enough outages, refuses with Retry-After, and closes when its trial call succeeds', async () => {
    create();
    for (let call = 0; call < 3; call += 1) await expect(circuit.run(away)).rejects.toMatchObject({ status: 503 });
    expect(circuit.state()).toBe('open');
    expect(await stateMetric()).toBe(2);
    await expect(circuit.run(reading)).rejects.toMatchObject({ status: 503, headers: { 'Retry-After': '1' } });

    await eventually(() => expect(circuit.state()).toBe('half-open'));
    expect(await circuit.run(reading)).toBe('rows');
    expect(circuit.state()).toBe('closed');
    expect(await stateMetric()).toBe(0);
  });

  it('lets one trial call through, and opens again when that fails', async () => {
    create();
    for (let call = 0; call < 3; call += 1) await circuit.run(away).catch(() => {});
    await eventually(() => expect(circuit.state()).toBe('half-open'));
    const hang = Promise.withResolvers<string>();
    const trying = circuit.run(() => hang.promise);
    await expect(circuit.run(reading)).rejects.toMatchObject({ status: 503 });
    hang.reject(new Error('away'));
    await expect(trying).rejects.toMatchObject({ status: 503 });
    expect(circuit.state()).toBe('open');
  });

  it('stays closed below its volume threshold', async () => {
    create({ volumeThreshold: 10 });
    for (let call = 0; call < 5; call += 1) await circuit.run(away).catch(() => {});
    expect(circuit.state()).toBe('closed');
  });

  it('does not count an answer that is an error, and passes it on unchanged', async () => {
    create();
    for (let call = 0; call < 20; call += 1) {
      await expect(circuit.run(() => Promise.reject(new Error('division by zero')))).rejects.toThrow(
        'division by zero',
      );
    }
    expect(circuit.state()).toBe('closed');
  });

  it('aborts the signal of the call that takes too long, and of no other call', async () => {
    create({ timeoutMs: 50 });
    const slow = circuit.run(
      (signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    );
    await expect(slow).rejects.toMatchObject({ status: 503 });
    expect(await circuit.run(async (signal) => signal.aborted)).toBe(false);
  });

  it('refuses calls above the limit in flight, without counting that as an outage', async () => {
    create();
    const hang = Promise.withResolvers<void>();
    const running = [circuit.run(() => hang.promise), circuit.run(() => hang.promise)];
    for (let call = 0; call < 10; call += 1) await expect(circuit.run(reading)).rejects.toMatchObject({ status: 503 });
    hang.resolve();
    await Promise.all(running);
    expect(circuit.state()).toBe('closed');
  });
});
