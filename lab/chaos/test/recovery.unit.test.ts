import { expect, it } from 'vitest';
import { longestRecovery } from '../recovery.ts';

it('the longest recovery ends when readings are acknowledged and stored again after the heal', () => {
  const timeline = [
    { fault: 'rabbitmq-killed', injectedAtMs: 0, endedAtMs: 1_000, healedAtMs: 3_000 },
    { fault: 'postgres-killed', injectedAtMs: 5_000, endedAtMs: 6_000, healedAtMs: 6_500 },
    { fault: 'query-api-killed', injectedAtMs: 9_000, endedAtMs: 9_500, healedAtMs: 9_900 },
  ];
  const ackedAt = [900, 3_400, 6_500];
  const storedAt = [900, 3_600, 9_500];
  expect(longestRecovery(timeline, ackedAt, storedAt)).toEqual({ fault: 'postgres-killed', seconds: 3.5 });
  expect(longestRecovery(timeline, [], storedAt)).toBeUndefined();
});
