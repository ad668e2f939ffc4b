import { expect, it } from 'vitest';
import { seededRandom } from '../../fleet/random.ts';
import type { Fault } from '../fault.ts';
import type { ChaosPlatform } from '../platform.ts';
import { injectFaults } from '../timeline.ts';

it('faults that are late, because others took longer than planned, are injected only if they were not before', async () => {
  const injected: string[] = [];
  const fault = (name: string, holdMs: number): { fault: Fault; atMs: number; holdMs: number } => ({
    fault: {
      name,
      what: name,
      component: 'query-api',
      holdMinMs: holdMs,
      holdMaxMs: holdMs,
      inject: async () => {
        injected.push(name);
        return async () => {};
      },
    },
    atMs: 0,
    holdMs,
  });
  await injectFaults([fault('slow', 60), fault('slow', 60), fault('other', 1)], {
    platform: {} as ChaosPlatform,
    random: seededRandom(1),
    startedAt: performance.now(),
    durationMs: 40,
    signal: new AbortController().signal,
    onEntry: () => {},
  });
  expect(injected).toEqual(['slow', 'other']);
});
