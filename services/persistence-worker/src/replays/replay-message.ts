import { randomUUID } from 'node:crypto';
import type { Publication } from '@fleetwire/broker/publisher';
import { isolatedHeader, senderHeaders } from '@fleetwire/broker/retry-headers';
import { exchanges, routingKeys } from '@fleetwire/broker/topology';
import { edgeReportType } from '@fleetwire/contracts/edge-report';
import { envelopeSchemaVersion, envelopeType } from '@fleetwire/contracts/envelope';
import { correlationHeader, replayHeader } from '@fleetwire/contracts/event';
import { jsonOfPayload } from '@fleetwire/store/dead-letters/browse';
import type { Offered, PublishedItem } from '@fleetwire/store/dead-letters/replay-lease';
import type { Replay } from '@fleetwire/store/dead-letters/replays';

/**
 * The message that replays a dead letter. A reading gets an envelope of its own, so that it fails alone; bytes that are no reading are
 * published unchanged.
 * @returns the message, and the identity under which the reading will be stored, where it has one
 */
export function replayMessageOf(
  letter: Offered,
  { id, copy }: Pick<Replay, 'id' | 'copy'>,
): { readonly message: Publication; readonly identity: PublishedItem['identity'] } {
  const { content, identity } = copy === null ? contentOf(letter) : contentOfCopy(letter, copy);
  const headers = {
    ...senderHeaders(letter.headers),
    ...(letter.headers[correlationHeader] !== undefined && { [correlationHeader]: letter.headers[correlationHeader] }),
    [replayHeader]: id,
    ...(letter.reason === 'kills-the-worker' && { [isolatedHeader]: true }),
  };
  const message = {
    exchange: exchanges.telemetry,
    routingKey: routingKeys.persist,
    messageId: `${id}/${letter.number}`,
    type: typeOf(content),
    contentType: 'application/json',
    headers,
    content,
  };
  return { message, identity };
}

interface Content {
  readonly content: Buffer;
  readonly identity: PublishedItem['identity'];
}

function contentOfCopy(letter: Offered, { deviceId, epoch, seq, ts, metrics }: NonNullable<Replay['copy']>): Content {
  return {
    content: envelopeOf(letter, { deviceId, epoch, reading: { seq, ts, metrics } }),
    identity: { deviceId, epoch, seq },
  };
}

function contentOf(letter: Offered): Content {
  const { deviceId, epoch, payload, payloadEncoding } = letter;
  const reading = payloadEncoding === 'json' ? jsonOfPayload(payload) : undefined;
  if (reading === undefined || deviceId === null || epoch === null) return { content: payload, identity: undefined };
  const seq = letter.seq ?? seqIn(reading);
  return {
    content: envelopeOf(letter, { deviceId, epoch, reading }),
    identity: isSeq(seq) ? { deviceId, epoch, seq } : undefined,
  };
}

/** The broker dead-letters edge reports too, and a dead letter keeps the bytes of a message, not its type. */
function typeOf(content: Buffer): typeof envelopeType | typeof edgeReportType {
  const value = jsonOfPayload(content);
  const isReport = typeof value === 'object' && value !== null && 'type' in value && value.type === edgeReportType;
  return isReport ? edgeReportType : envelopeType;
}

/** The reading is not validated here: the worker that stores it validates it as any other. */
function envelopeOf(
  { receivedAt, createdAt }: Offered,
  { deviceId, epoch, reading }: { deviceId: string; epoch: string; reading: unknown },
): Buffer {
  const run = { deviceId, epoch, receivedAt: receivedAt ?? Math.floor(createdAt), readings: [reading] };
  const event = { id: randomUUID(), type: envelopeType, schemaVersion: envelopeSchemaVersion, occurredAt: Date.now() };
  return Buffer.from(JSON.stringify({ ...event, runs: [run] }));
}

function seqIn(reading: unknown): unknown {
  return typeof reading === 'object' && reading !== null && 'seq' in reading ? reading.seq : undefined;
}

function isSeq(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
