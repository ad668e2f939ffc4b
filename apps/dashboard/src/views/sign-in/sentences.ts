import { duration } from '../../format.ts';
import { timeWithMilliseconds } from '../../times.ts';
import type { Hop } from '../console/hops.tsx';

/** How far the first reading of a device has come. A live update comes after the broker has confirmed its reading. */
export interface FirstReading {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  /** By the clock of the server. */
  readonly receivedAt: number;
  readonly confirmedAt: number;
  readonly storedAt: number | undefined;
  /** Why it was not stored. */
  readonly dead: string | undefined;
}

/** The stations of the wizard: nothing is lit before the first reading. */
export function firstReadingHops(reading: FirstReading | undefined, now: number): Hop[] {
  if (reading === undefined)
    return ['received', 'in the queue', 'acknowledged', 'stored'].map((label, index) => ({
      label,
      note: index === 0 ? 'waiting for the reading' : '',
      state: 'waiting',
    }));
  const { receivedAt, confirmedAt, storedAt, dead } = reading;
  return [
    { label: 'received', note: timeWithMilliseconds(receivedAt), state: 'done' },
    { label: 'in the queue', note: 'of RabbitMQ, on disk', state: 'done' },
    { label: 'acknowledged', note: `within ${elapsed(confirmedAt - receivedAt)}: cannot be lost now`, state: 'done' },
    dead !== undefined
      ? { label: 'not stored', note: 'a dead letter', state: 'failed' }
      : storedAt === undefined
        ? { label: 'stored', note: `waiting, ${duration(Math.max(0, now - receivedAt))}`, state: 'waiting' }
        : { label: 'stored', note: `within ${elapsed(storedAt - receivedAt)}`, state: 'done' },
  ];
}

const elapsed = (ms: number) => (ms < 1_000 ? `${Math.max(1, Math.round(ms))} ms` : duration(ms));
