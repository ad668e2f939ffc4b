import { edgeReportType } from '@fleetwire/contracts/edge-report';
import { envelopeType } from '@fleetwire/contracts/envelope';
import { describe, expect, it } from 'vitest';
import { replayMessageOf } from '../src/replays/replay-message.ts';

function replayed(payload: string) {
  const letter = {
    number: 1,
    id: '1',
    reason: 'delivery-limit',
    deviceId: null,
    epoch: null,
    seq: null,
    receivedAt: null,
    createdAt: 0,
    offeredAt: '2026-11-21 16:00:00.000000+00',
    headers: {},
    payload: Buffer.from(payload),
    payloadEncoding: 'base64',
  } as const;
  return replayMessageOf(letter, { id: 'replay', copy: null });
}

describe('the replay of a whole message', () => {
  it.each([
    ['an edge report', JSON.stringify({ type: edgeReportType, id: 'a' }), edgeReportType],
    ['an envelope', JSON.stringify({ type: envelopeType, runs: [] }), envelopeType],
    ['bytes that cannot be parsed', '\u0000{', envelopeType],
  ])('publishes the bytes of %s unchanged, with its type', (_name, payload, type) => {
    const { message, identity } = replayed(payload);
    expect([message.type, message.content.toString(), identity]).toEqual([type, payload, undefined]);
  });
});
