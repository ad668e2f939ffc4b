import { Counter, Gauge, Histogram, type Registry, fromZero } from '@fleetwire/runtime/metrics';

export type LiveMetrics = ReturnType<typeof createLiveMetrics>;

export function createLiveMetrics(registry: Registry) {
  const registers = [registry];
  return {
    published: fromZero(
      new Counter({
        name: 'fleetwire_live_published_total',
        help: 'Live messages of this edge: sent, or skipped because the broker did not take more',
        labelNames: ['result'] as const,
        registers,
      }),
      'result',
      ['sent', 'skipped'],
    ),
    interestInstances: new Gauge({
      name: 'fleetwire_live_interest_instances',
      help: 'Instances that watch devices of this edge',
      registers,
    }),
    subscriptions: new Gauge({
      name: 'fleetwire_live_subscriptions',
      help: 'Open subscriptions, by mode',
      labelNames: ['mode'] as const,
      registers,
    }),
    deliverySeconds: new Histogram({
      name: 'fleetwire_live_delivery_seconds',
      help: 'Time from the arrival of the oldest reading of a live message at its edge to the write to subscribers of this instance',
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    readings: fromZero(
      new Counter({
        name: 'fleetwire_live_readings_total',
        help: 'Readings sent to subscribers, by phase',
        labelNames: ['phase'] as const,
        registers,
      }),
      'phase',
      ['history', 'live', 'fill'],
    ),
    conflated: new Counter({
      name: 'fleetwire_live_conflated_total',
      help: 'Readings that were merged into newer ones because of maxRateHz or a slow subscriber',
      registers,
    }),
    gaps: new Counter({
      name: 'fleetwire_live_gaps_total',
      help: 'Gaps told to subscribers, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    slowWatchers: new Counter({
      name: 'fleetwire_live_slow_watchers_total',
      help: 'Subscribers closed with 1013 because they did not keep up',
      registers,
    }),
  };
}
