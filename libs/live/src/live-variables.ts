import { relation } from '@fleetwire/runtime/configuration';
import { integer, optional, secret, string } from '@fleetwire/runtime/variables';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

/** Of every service that has subscribers, or whose readings are watched. */
export const liveVariables = {
  cursorSecret: optional(
    secret(
      string('CURSOR_SECRET', {
        doc: 'Signs the cursors of subscriptions, equal for all instances of ingest-ws and query-api; by default derived from user, password and virtual host of AMQP_URL',
      }),
    ),
  ),
  subscriptionsPerSocketMax: integer('SUBSCRIPTIONS_PER_SOCKET_MAX', {
    min: 1,
    max: 10_000,
    default: 100,
    unit: 'subscriptions',
    doc: 'Subscriptions of one socket; further ones are refused with too-many-subscriptions',
  }),
  subscriptionsPerCallerMax: integer('SUBSCRIPTIONS_PER_CALLER_MAX', {
    min: 1,
    max: 100_000,
    default: 500,
    unit: 'subscriptions',
    doc: 'Subscriptions of one token subject and role on this instance; further ones are refused with too-many-subscriptions. Not applied with AUTH_MODE=open',
  }),
  filterDevicesMax: integer('FILTER_DEVICES_MAX', {
    min: 1,
    max: 1_000_000,
    default: 20_000,
    unit: 'devices',
    doc: 'Devices that one filter by tag or device type may select; with more the subscription is refused with limit-exceeded. All such filters of this instance together may select ten times as many. Also how many devices a subscription to presence or registry events is told the present state of',
  }),
  watcherBytesMax: integer('WATCHER_BYTES_MAX', {
    min: 64 * kibibyte,
    max: 64 * mebibyte,
    default: mebibyte,
    unit: 'bytes',
    doc: 'Live data queued for a subscriber that does not read it; beyond it live data is conflated, or left out and read again from history',
  }),
  watcherEntriesMax: integer('WATCHER_ENTRIES_MAX', {
    min: 100,
    max: 1_000_000,
    default: 20_000,
    unit: 'values',
    doc: 'Newest values kept for one subscription whose subscriber does not keep up; with more it is closed with 1013',
  }),
  watcherSlowMsMax: integer('WATCHER_SLOW_MS_MAX', {
    min: 100,
    max: 3_600_000,
    default: 30_000,
    unit: 'ms',
    doc: 'A subscriber that does not keep up with live data, or takes nothing of its history, for so long is closed with 1013',
  }),
  liveBufferReadingsMax: integer('LIVE_BUFFER_READINGS_MAX', {
    min: 1,
    max: 1_000_000,
    default: 20_000,
    unit: 'readings',
    doc: 'Live readings kept for one subscription while its history is read, in at most 10,000 messages and 4 MiB; those beyond it are read from history afterwards',
  }),
  liveQueueMessagesMax: integer('LIVE_QUEUE_MESSAGES_MAX', {
    min: 100,
    max: 1_000_000,
    default: 10_000,
    unit: 'messages',
    doc: 'Live messages queued in the broker for this instance; beyond it the oldest are dropped, and read from history',
  }),
  liveQueueBytesMax: integer('LIVE_QUEUE_BYTES_MAX', {
    min: mebibyte,
    max: 4096 * mebibyte,
    default: 64 * mebibyte,
    unit: 'bytes',
    doc: 'The same in bytes',
  }),
  liveOutboundBytesMax: integer('LIVE_OUTBOUND_BYTES_MAX', {
    min: 64 * kibibyte,
    max: 1024 * mebibyte,
    default: 8 * mebibyte,
    unit: 'bytes',
    doc: 'Live data published and not confirmed by the broker; beyond it live data is left out, envelopes are not',
  }),
  interestRefreshMs: integer('INTEREST_REFRESH_MS', {
    min: 50,
    max: 60_000,
    default: 5_000,
    unit: 'ms',
    doc: 'How often this instance tells the edges what its subscribers watch',
  }),
  interestTtlMs: integer('INTEREST_TTL_MS', {
    min: 150,
    max: 600_000,
    default: 15_000,
    unit: 'ms',
    doc: 'Edges publish for an instance that has not repeated its interest for no longer than this; also how long an edge may be silent until it counts as ended. At least twice INTEREST_REFRESH_MS',
  }),
};

export const liveRelations = [
  relation(
    liveVariables,
    'INTEREST_TTL_MS ≥ 2 × INTEREST_REFRESH_MS',
    ['interestTtlMs', 'interestRefreshMs'],
    (c) => c.interestTtlMs >= 2 * c.interestRefreshMs,
  ),
];
