import { Counter, Gauge, Histogram, type Registry, Tally, fromZero } from '@fleetwire/runtime/metrics';
import { readingCounts } from './reading-outcomes.ts';

const clientLimits = [
  'connectionsMax',
  'connectionsPerSubjectMax',
  'connectionsPerAddressMax',
  'inFlightMax',
  'socketBytesInFlightMax',
] as const;

export type IngestMetrics = ReturnType<typeof createIngestMetrics>;

export function createIngestMetrics(registry: Registry) {
  const registers = [registry];
  return {
    connections: new Gauge({ name: 'fleetwire_ingest_connections', help: 'Device sockets that are open', registers }),
    congested: new Gauge({
      name: 'fleetwire_ingest_congested',
      help: '1 while sockets are paused because confirms are slow',
      registers,
    }),
    readings: new Tally({
      name: 'fleetwire_ingest_readings_total',
      help: 'Readings by outcome: received = accepted (confirmed by the broker) + rejected (final) + nacked (to be sent again) + in flight; unconfirmed is the part of nacked that the broker may have',
      label: 'result',
      values: readingCounts,
      registers,
    }),
    rejections: new Counter({
      name: 'fleetwire_ingest_refused_frames_total',
      help: 'Frames, readings and HTTP elements rejected, by code',
      labelNames: ['code'] as const,
      registers,
    }),
    closedSockets: new Counter({
      name: 'fleetwire_ingest_closed_sockets_total',
      help: 'Sockets closed by the server or by a socket error (such as a reset by the peer), by close code or reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    limitsReached: fromZero(
      new Counter({
        name: 'fleetwire_ingest_limits_reached_total',
        help: 'Upgrades that were refused and frames that were nacked because of a limit on clients, by limit',
        labelNames: ['limit'] as const,
        registers,
      }),
      'limit',
      clientLimits,
    ),
    refusedUpgrades: new Counter({
      name: 'fleetwire_ingest_refused_upgrades_total',
      help: 'Upgrades refused, by HTTP status',
      labelNames: ['status'] as const,
      registers,
    }),
    confirmSeconds: new Histogram({
      name: 'fleetwire_publish_confirm_seconds',
      help: 'Time from publishing an envelope to its confirm',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 10],
      registers,
    }),
    publishFailures: new Counter({
      name: 'fleetwire_publish_failures_total',
      help: 'Envelopes that the broker did not confirm, by reason',
      labelNames: ['kind'] as const,
      registers,
    }),
  };
}
