import { expect, it, vi } from 'vitest';
import { SessionStreams, type Stream } from '../src/session-streams.ts';
import { StreamAcks } from '../src/stream-acks.ts';
import { StreamHistory } from '../src/stream-history.ts';
import { SubjectShares } from '../src/subject-shares.ts';

const shares = new SubjectShares({ bytesInFlightMax: 1, isLimited: true, streamsMax: 10_000, deviceStreamsMax: 3 });

function streamsOf(sub: string, role: 'admin' | 'device' = 'admin'): SessionStreams {
  const history = new StreamHistory({ streamsMax: 10 });
  return new SessionStreams({ own: { deviceId: sub, epoch: 'own' }, history, share: shares.open({ sub, role }) });
}

function open(streams: SessionStreams, deviceId: string, epoch: string): Stream {
  const stream = streams.find(deviceId, epoch);
  if (typeof stream === 'string') throw new Error(stream);
  return stream;
}

/** Receives one reading, and settles it. */
function settleOne(streams: SessionStreams, epoch: string): Stream {
  const stream = open(streams, 'device', epoch);
  stream.acks.settle(stream.acks.begin(1, 1));
  streams.noteChanged(stream);
  streams.nextAcks();
  return stream;
}

it('an ack looks at the streams that changed, not at all streams of a gateway', () => {
  const streams = streamsOf('gateway');
  const ranges = Array.from({ length: 5_000 }, (_, n) => {
    const stream = open(streams, `d-${n}`, 'e');
    return { stream, range: stream.acks.begin(1, 1) };
  });
  const nextAck = vi.spyOn(StreamAcks.prototype, 'nextAck');
  for (const { stream, range } of ranges.slice(0, 3)) {
    stream.acks.settle(range);
    streams.noteChanged(stream);
  }
  expect(streams.nextAcks()).toEqual([0, 1, 2].map((n) => ({ type: 'ack', upTo: 1, deviceId: `d-${n}`, epoch: 'e' })));
  expect(nextAck.mock.calls.length).toBeLessThan(10);
  expect(streams.nextAcks()).toEqual([]);
});

it('pending resends are counted over all streams', () => {
  const streams = streamsOf('gateway');
  for (const id of ['a', 'b']) {
    const stream = open(streams, id, 'e');
    for (const seq of [1, 2, 4]) stream.acks.awaitResend(stream.acks.begin(seq, seq));
    streams.noteChanged(stream);
  }
  // Neighbours are one range.
  expect(streams.pendingResends).toBe(4);
  const stream = open(streams, 'a', 'e');
  stream.acks.settle(stream.acks.begin(1, 4));
  streams.noteChanged(stream);
  expect(streams.pendingResends).toBe(2);
});

it('streams are bounded over all sockets of a subject: the least recently used idle one is forgotten', () => {
  const [one, two] = [streamsOf('device', 'device'), streamsOf('device', 'device')];
  const [first, second] = [settleOne(one, 'a'), settleOne(one, 'b')];
  const third = settleOne(two, 'c');
  expect(settleOne(one, 'a')).toBe(first);
  settleOne(two, 'd');
  expect(open(one, 'device', 'a')).toBe(first);
  expect(open(two, 'device', 'c')).toBe(third);
  expect(open(one, 'device', 'b')).not.toBe(second);
  for (const epoch of ['a', 'b']) open(one, 'device', epoch).acks.begin(2, 2);
  open(two, 'device', 'c').acks.begin(2, 2);
  // All three have readings in flight.
  expect(two.find('device', 'e')).toBe('subjectStreams');
  expect(two.find('device', 'own')).toMatchObject({ epoch: 'own' });
  expect(streamsOf('other', 'device').find('other', 'e')).toMatchObject({ epoch: 'e' });
  one.end();
  expect(two.find('device', 'e')).toMatchObject({ epoch: 'e' });
  two.end();
});

it('streams of which only unreadable frames came are idle, and keep no others out', () => {
  const streams = streamsOf('device', 'device');
  for (let n = 0; n < 10; n += 1) {
    const stream = open(streams, 'device', `e-${n}`);
    stream.ownUnreadableFrames += 1;
    streams.noteChanged(stream);
    streams.nextAcks();
  }
  expect(open(streams, 'device', 'e-9').ownUnreadableFrames).toBe(1);
  // Those of the forgotten ones may have been of any stream.
  expect(streams.unreadableFrames).toBe(7);
});
