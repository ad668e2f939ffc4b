import { expect, it } from 'vitest';
import { PresentAlarms } from '../src/queues/present-alarms.ts';

const alarm = {
  name: 'FleetwireWorkerHolds',
  subject: '',
  summary: 'Postgres does not accept writes',
  isOfOneInstance: true,
};
const stored = (startedAt: number) => [{ ...alarm, startedAt, endedAt: null }];
const states = (found: ReturnType<PresentAlarms['of']>) => found.map(({ state, since }) => [state, since]);

it('an alarm about Postgres fires while Postgres is away, since this instance has seen it', () => {
  const alarms = new PresentAlarms();
  expect(states(alarms.of([alarm], undefined, 1_000))).toEqual([['pending', 1_000]]);
  expect(states(alarms.of([alarm], undefined, 60_999))).toEqual([['pending', 1_000]]);
  expect(states(alarms.of([alarm], undefined, 61_000))).toEqual([['firing', 1_000]]);
  expect(alarms.of([], undefined, 62_000)).toEqual([]);
  expect(states(alarms.of([alarm], undefined, 63_000))).toEqual([['pending', 63_000]]);
});

it('what is stored says since when, and is remembered while the database is away', () => {
  const alarms = new PresentAlarms();
  expect(states(alarms.of([alarm], [], 100_000))).toEqual([['pending', undefined]]);
  expect(states(alarms.of([alarm], stored(50_000), 100_000))).toEqual([['pending', 50_000]]);
  expect(states(alarms.of([alarm], undefined, 110_000))).toEqual([['firing', 50_000]]);
});
