import { Counter, Gauge, Histogram, type Registry, Tally, fromZero } from '@fleetwire/runtime/metrics';
import { readingCounts } from './reading-outcomes.ts';

const clientLimits = [
  'connectionsMax',
  'connectionsPerSubjectMax',
  'connectionsPerAddressMax',
  'inFlightMax',
  'socketBytesInFlightMax',
  'subjectBytesInFlightMax',
  'subjectStreamsMax',
  'deviceStreamsMax',
  'httpRequestsInFlightPerSubjectMax',
  'pendingResendsMax',
  'commandsPendingMax',
  'controlsInFlightMax',
  'commandOutcomesBytesMax',
  'awaitingStoredMax',
  'plainEchoesPerSecondMax',
  'plainSnapshotsInFlightMax',
  'unseenSessionsPerAddressMax',
] as const;

export type IngestMetrics = ReturnType<typeof createIngestMetrics>;

export function createIngestMetrics(registry: Registry) {
  const registers = [registry];
  return {
    connections: new Gauge({ name: 'fleetwire_ingest_connections', help: 'Device sockets that are open', registers }),
    plainConnections: new Gauge({
      name: 'fleetwire_ingest_plain_connections',
      help: 'Open sockets of the plain dialect, which are among fleetwire_ingest_connections',
      registers,
    }),
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
    edgeGenerations: new Counter({
      name: 'fleetwire_edge_generations_total',
      help: 'New generations of this edge: it may have lost its lease, and announced its sessions again',
      registers,
    }),
    endedTokens: fromZero(
      new Counter({
        name: 'fleetwire_ingest_ended_tokens_total',
        help: 'Sockets closed with 4401, because their token expired, the key that signed it was removed, or their session was ended',
        labelNames: ['cause'] as const,
        registers,
      }),
      'cause',
      ['expired', 'key-removed', 'session-ended'],
    ),
    limitsReached: fromZero(
      new Counter({
        name: 'fleetwire_ingest_limits_reached_total',
        help: 'Upgrades and requests that were refused, frames that were nacked and sockets that were closed because of a limit on clients, by limit',
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
    commandsPending: new Gauge({
      name: 'fleetwire_edge_commands_pending',
      help: 'Commands that were sent to a device of this instance, on a session that is open, and have no result yet',
      registers,
    }),
    commands: fromZero(
      new Counter({
        name: 'fleetwire_edge_commands_total',
        help: 'Commands that came to this instance: sent to the device, known already, of no device here, refused because of an overload, or unreadable',
        labelNames: ['result'] as const,
        registers,
      }),
      'result',
      ['sent', 'repeated', 'not-here', 'overloaded', 'unreadable'],
    ),
    commandAnswers: fromZero(
      new Counter({
        name: 'fleetwire_edge_command_answers_total',
        help: 'Answers of devices to commands: delivered, succeeded and failed are reported; a second result is ignored, and an answer to an unknown command or beyond a limit is refused',
        labelNames: ['answer'] as const,
        registers,
      }),
      'answer',
      ['delivered', 'succeeded', 'failed', 'repeated', 'unknown', 'overloaded', 'refused'],
    ),
    controls: new Counter({
      name: 'fleetwire_ingest_controls_total',
      help: 'Commands that clients sent on sockets, by the answer of query-api: accepted, or the code of the error',
      labelNames: ['result'] as const,
      registers,
    }),
    commandSeconds: new Histogram({
      name: 'fleetwire_edge_command_seconds',
      help: 'Time from the frame of a command to the result of the device',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300],
      registers,
    }),
    confirmSeconds: new Histogram({
      name: 'fleetwire_publish_confirm_seconds',
      help: 'Time from publishing an envelope to its confirm',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 10],
      registers,
    }),
    storedNotices: fromZero(
      new Counter({
        name: 'fleetwire_stored_notices_total',
        help: 'Messages to devices that asked for acks=stored: stored, dead (a reading became a dead letter), conflicting (duplicates with another content)',
        labelNames: ['kind'] as const,
        registers,
      }),
      'kind',
      ['stored', 'dead', 'conflicting'],
    ),
    storedNoticeSeconds: new Histogram({
      name: 'fleetwire_stored_notice_seconds',
      help: 'Time from the commit of an envelope to the message to its devices that it is stored, on the clocks of worker and edge; without notices that were lost',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
      registers,
    }),
    awaitingStored: new Gauge({
      name: 'fleetwire_awaiting_stored',
      help: 'Frames of devices that asked for acks=stored, published and not known to be stored',
      registers,
    }),
    answerTimeouts: new Counter({
      name: 'fleetwire_ingest_answer_timeouts_total',
      help: 'Readings nacked because the broker did not confirm them within answerTimeoutMs of their arrival',
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
