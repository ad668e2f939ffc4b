import { createRegistry } from '@fleetwire/runtime/metrics';
import { readConfiguration } from '@fleetwire/runtime/configuration';
import { expect, it, vi } from 'vitest';
import { CompleteSubscription } from '../src/complete-subscription.ts';
import type { HistoryClient } from '../src/history-client.ts';
import { LiveCursors } from '../src/live-cursor.ts';
import { LiveFilter } from '../src/live-filter.ts';
import { createLiveMetrics } from '../src/live-metrics.ts';
import { liveVariables } from '../src/live-variables.ts';
import type { Notice } from '../src/notices.ts';
import { Selection } from '../src/selection.ts';
import type { HistoryQuestion } from '../src/watch.ts';

/** One second by itself, which a busy machine may take. */
const waiting = { timeout: 60_000 };

it('does not take a cursor of more than a day for expired because an edge was heard that the database does not know yet', async () => {
  const questions: HistoryQuestion[] = [];
  const notices: Notice[] = [];
  let isAway = true;
  const history: HistoryClient = {
    async *read(question) {
      questions.push(question);
      if (isAway) throw new Error('away');
      const edges = new Map([['old', { key: 1, settled: 5, isClosed: false }]]);
      yield { edges, installation: 'i', earliest: undefined, uncovered: [] };
      yield { left: Object.fromEntries(Object.entries(question.ranges).filter(([edge]) => edge !== 'old')) };
    },
  };
  const subscription = new CompleteSubscription({
    hub: {
      history,
      cursors: new LiveCursors('secret'),
      metrics: createLiveMetrics(createRegistry()),
      limits: { ...readConfiguration(liveVariables, {}) },
    },
    filter: new LiveFilter({ pattern: '*' }),
    since: undefined,
    resume: {
      position: { hi: { old: 3 }, gaps: {}, edgesKnown: 1 },
      installation: 'i',
      completeAt: Date.now() - 48 * 3_600_000,
    },
    token: () => undefined,
    onReadings: () => {},
    onNotice: (notice) => notices.push(notice),
    onFailure: (code, message) => expect.fail(`${code}: ${message}`),
    whenRoom: () => undefined,
  });
  subscription.begin(1, 1_000);
  await vi.waitFor(() => expect(notices.map(({ type }) => type)).toContain('pending'), waiting);
  subscription.hear({ edge: 'new', number: 1, prev: 0, revision: 1, selection: new Selection([]) }, 2_000);
  isAway = false;
  await vi.waitFor(() => {
    subscription.tick(Date.now() + 60_000);
    expect(questions.length).toBeGreaterThan(1);
  }, waiting);
  await vi.waitFor(() => expect(notices.filter(({ type }) => type === 'caught_up')).not.toEqual([]), waiting);
  expect(questions[1]?.ranges).toHaveProperty('new');
  expect(notices.filter(({ type }) => type === 'gap')).toEqual([]);
  subscription.close();
});
