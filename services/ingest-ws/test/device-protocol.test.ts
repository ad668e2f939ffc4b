import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { connect, ingest, queued, telemetry, token } from './harness.ts';

function frameOf(count: number, numbered: { seq?: number } = {}) {
  const readings = Array.from({ length: count }, () => ({ ts: Date.now(), value: 1 }));
  return { type: 'telemetry', ...numbered, readings };
}

describe('a device on its socket', async () => {
  const amqpUrl = await freshVhost();
  const edge = await ingest(amqpUrl, {
    IN_FLIGHT_MAX: '100',
    MALFORMED_FRAMES_IN_A_ROW_MAX: '5',
    // One frame with a thousand nacks is too many: two of them may come in two seconds.
    UNPRODUCTIVE_FRAMES_PER_SECOND_MAX: '50',
  });
  const readings = await queued(amqpUrl);
  const of = (deviceId: string) => readings.filter((reading) => reading.deviceId === deviceId);
  const device = async (id: string, query = '') => connect(edge.webSocketUrl + query, { token: await token(id) });

  it('is greeted with its session, its epoch and the limits', async () => {
    const thermo = await device('thermo-1', '?epoch=boot-7');
    expect(await thermo.next('hello')).toMatchObject({
      deviceId: 'thermo-1',
      epoch: 'boot-7',
      limits: { payloadBytesMax: 262_144, inFlightMax: 100 },
    });
  });

  it('gets a cumulative ack, and its readings are in the queue under their identity', async () => {
    const thermo = await device('thermo-2', '?epoch=boot-1');
    for (let seq = 1; seq <= 20; seq += 1) thermo.send(telemetry(seq));
    await eventually(() =>
      expect(thermo.messages.findLast(({ type }) => type === 'ack')).toEqual({ type: 'ack', upTo: 20 }),
    );
    await eventually(() =>
      expect(of('thermo-2').map(({ epoch, seq }) => `${epoch}/${seq}`)).toEqual(
        Array.from({ length: 20 }, (_, i) => `boot-1/${i + 1}`),
      ),
    );
  });

  it('may send many readings in one frame', async () => {
    const thermo = await device('thermo-3', '?epoch=boot-1');
    thermo.send({ type: 'telemetry', seq: 5, readings: [1, 2, 3].map((n) => ({ ts: Date.now(), metrics: { n } })) });
    expect(await thermo.next('ack')).toEqual({ type: 'ack', upTo: 7 });
    await eventually(() =>
      expect(of('thermo-3').map(({ seq, metrics }) => [seq, metrics])).toEqual([
        [5, { n: 1 }],
        [6, { n: 2 }],
        [7, { n: 3 }],
      ]),
    );
  });

  it('may send the smallest form: device_id, a bare value, no seq and no time', async () => {
    const thermo = await device('thermo-4');
    thermo.send({ type: 'telemetry', device_id: 'thermo-4', value: 19 });
    thermo.send({ type: 'telemetry', value: 20 });
    expect(
      await eventually(
        () =>
          thermo.messages.findLast((message) => message.type === 'ack' && message.upTo === 2) ??
          Promise.reject(new Error('no ack')),
      ),
    ).toMatchObject({ epoch: /^auto-/ });
    await eventually(() =>
      expect(of('thermo-4').map(({ seq, metrics }) => [seq, metrics])).toEqual([
        [1, { value: 19 }],
        [2, { value: 20 }],
      ]),
    );
  });

  it('never gets the same number twice when it sends none, over all its sockets', async () => {
    for (const value of [1, 2]) {
      const thermo = await device('thermo-5', '?epoch=boot-1');
      thermo.send({ type: 'telemetry', value });
      await thermo.next('ack');
    }
    await eventually(() => expect(of('thermo-5')).toHaveLength(2));
    expect(new Set(of('thermo-5').map(({ epoch, seq }) => `${epoch}/${seq}`)).size).toBe(2);
  });

  it('gets a pong for a ping', async () => {
    const thermo = await device('thermo-6');
    thermo.send({ type: 'ping' });
    expect((await thermo.next('pong')).ts).toBeCloseTo(Date.now(), -4);
  });

  it('gets the list of frame types when it sends an unknown one, and stays connected', async () => {
    const thermo = await device('thermo-7');
    thermo.send({ type: 'telemetri' });
    expect(await thermo.next('error')).toMatchObject({
      code: 'unknown-type',
      acceptedTypes: expect.arrayContaining(['telemetry', 'ping', 'subscribe']),
    });
    thermo.send(telemetry(1));
    await thermo.next('ack');
  });

  it('gets a final nack for an invalid reading and an ack for the others of the frame', async () => {
    const thermo = await device('thermo-8', '?epoch=b');
    thermo.send({
      type: 'telemetry',
      seq: 1,
      readings: [
        { ts: Date.now(), value: 1 },
        { ts: 5, value: 2 },
        { ts: Date.now(), value: 3 },
      ],
    });
    expect(await thermo.next('nack')).toMatchObject({
      seq: 2,
      count: 1,
      code: 'timestamp-out-of-range',
      retryable: false,
    });
    expect(await thermo.next('ack')).toEqual({ type: 'ack', upTo: 3 });
    await eventually(() => expect(of('thermo-8').map(({ seq }) => seq)).toEqual([1, 3]));
  });

  // Acks are written past ws to the raw socket: with `perMessageDeflate` on they overtake the nacks, which ws then queues for zlib.
  it('gets the nack of every rejected reading before the ack that covers it', async () => {
    const thermo = await device('thermo-18', '?epoch=b');
    const readings = Array.from({ length: 50 }, (_, n) => ({ ts: n % 2 === 0 ? 5 : 'later', value: 1 }));
    thermo.send({ type: 'telemetry', seq: 1, readings });
    expect(await thermo.next('ack')).toEqual({ type: 'ack', upTo: 50 });
    const answers = thermo.messages.filter(({ type }) => type === 'nack' || type === 'ack');
    expect(answers.map(({ type }) => type)).toEqual([...readings.map(() => 'nack'), 'ack']);
  });

  it('gets one nack, or one error without seq, for neighbours that are rejected for the same reason', async () => {
    const thermo = await device('thermo-22', '?epoch=b');
    const bad = { ts: 5, value: 1 };
    const readings = [...Array.from({ length: 600 }, () => bad), { ts: Date.now(), value: 1 }, bad, bad];
    thermo.send({ type: 'telemetry', seq: 1, readings });
    expect(await thermo.next('ack')).toEqual({ type: 'ack', upTo: 603 });
    const nacks = thermo.messages.filter(({ type }) => type === 'nack');
    expect(nacks).toMatchObject([
      { seq: 1, count: 600, code: 'timestamp-out-of-range', retryable: false },
      { seq: 602, count: 2, code: 'timestamp-out-of-range', retryable: false },
    ]);
    expect(nacks[0]).toMatchObject({
      message: expect.stringMatching(/^readings\[0\]\.ts .* \(and the 599 readings after it\)$/),
    });
    await eventually(() => expect(of('thermo-22').map(({ seq }) => seq)).toEqual([601]));

    thermo.send({ type: 'telemetry', readings });
    thermo.send({ type: 'telemetry', readings: [bad, bad, bad] });
    for (const count of [600, 2, 3])
      expect(await thermo.next('error')).toMatchObject({ count, code: 'timestamp-out-of-range' });
  });

  it('is closed with 4429 when it sends frames that cost very many nacks', async () => {
    const thermo = await device('thermo-23', '?epoch=b');
    const readings = Array.from({ length: 1_000 }, (_, n) => ({ ts: n % 2 === 0 ? 5 : 'later', value: 1 }));
    for (let frame = 0; frame < 10; frame += 1) thermo.send({ type: 'telemetry', seq: 1 + frame * 1_000, readings });
    expect(await thermo.closed).toMatchObject({ code: 4429 });
    const nacks = thermo.messages.filter((message) => message.type === 'nack' && !message.retryable);
    expect(nacks).toHaveLength(1_000);
  });

  it('gets an error for a binary frame', async () => {
    const thermo = await device('thermo-9');
    thermo.send(Buffer.from(JSON.stringify(telemetry(1))));
    expect(await thermo.next('error')).toMatchObject({ code: 'binary-frame' });
  });

  it('gets a nack for one bad text, and the good readings beside it are taken', async () => {
    const thermo = await device('thermo-19', '?epoch=b');
    thermo.send({
      type: 'telemetry',
      seq: 2,
      readings: ['ok', 'a\0b', 'ok'].map((v) => ({ ts: Date.now(), metrics: { v } })),
    });
    expect(await thermo.next('nack')).toMatchObject({ seq: 3, count: 1, code: 'unstorable-text', retryable: false });
    expect(await thermo.next('ack')).toEqual({ type: 'ack', upTo: 4 });
    await eventually(() => expect(of('thermo-19').map(({ seq }) => seq)).toEqual([2, 4]));
  });

  it('gets a nack for the numbers of a frame that could not be read before an ack covers them, and none for gaps of its own', async () => {
    const thermo = await device('thermo-20', '?epoch=b');
    thermo.send(telemetry(0));
    thermo.send('{"type":"telemetry","seq":1,"readings":[');
    thermo.send(telemetry(0));
    thermo.send(telemetry(4));
    thermo.send(telemetry(9));
    await eventually(() => expect(thermo.messages).toContainEqual({ type: 'ack', upTo: 9 }));
    const answers = thermo.messages.filter(({ type }) => type !== 'hello');
    expect(answers.filter(({ type }) => type !== 'ack')).toMatchObject([
      { type: 'error', code: 'malformed-json' },
      { type: 'nack', seq: 1, count: 3, code: 'unreadable-frame', retryable: false },
    ]);
    const nacked = answers.findIndex(({ type }) => type === 'nack');
    expect(answers.slice(0, nacked).every((answer) => answer.type !== 'ack' || answer.upTo === 0)).toBe(true);
  });

  it('gets a nack from 0 on when the first frame of its socket could not be read', async () => {
    const thermo = await device('thermo-21', '?epoch=b');
    thermo.send(Buffer.from('{}'));
    thermo.send(telemetry(7));
    expect(await thermo.next('nack')).toMatchObject({ seq: 0, count: 7, code: 'unreadable-frame' });
    expect(await thermo.next('ack')).toEqual({ type: 'ack', upTo: 7 });
  });

  it('is closed with 4400 after too many malformed frames in a row', async () => {
    const thermo = await device('thermo-10');
    for (let n = 0; n < 5; n += 1) thermo.send('{"type":');
    expect(await thermo.closed).toMatchObject({ code: 4400 });
  });

  it('is closed with 4429 when it sends too many pings', async () => {
    const thermo = await device('thermo-11');
    for (let n = 0; n < 300; n += 1) thermo.send({ type: 'ping' });
    expect(await thermo.closed).toMatchObject({ code: 4429 });
  });

  it('is closed with 1009 for a frame of 1 MB, without effect on another device', async () => {
    const [large, neighbour] = [await device('thermo-12'), await device('thermo-13')];
    large.send(JSON.stringify({ type: 'telemetry', seq: 1, ts: Date.now(), metrics: { text: 'x'.repeat(1_000_000) } }));
    expect(await large.closed).toMatchObject({ code: 1009 });
    neighbour.send(telemetry(1));
    await neighbour.next('ack');
  });

  it('gets a retryable nack for readings beyond the in-flight limit', async () => {
    const thermo = await device('thermo-14', '?epoch=b');
    thermo.send(frameOf(60, { seq: 1 }));
    thermo.send(frameOf(60, { seq: 61 }));
    expect(await thermo.next('nack')).toMatchObject({
      seq: 61,
      count: 60,
      code: 'in-flight-limit',
      retryable: true,
      retryAfterMs: expect.any(Number),
    });
  });

  it('gets a frame with more readings than the in-flight limit accepted while nothing else is in flight', async () => {
    const thermo = await device('thermo-17', '?epoch=b');
    thermo.send(frameOf(101, { seq: 1 }));
    expect(await thermo.next('ack')).toEqual({ type: 'ack', upTo: 101 });
  });

  it('gets acks after a nack although it sends no numbers, and so sends the nacked readings under new ones', async () => {
    const thermo = await device('thermo-18');
    thermo.send(frameOf(60));
    thermo.send(frameOf(60));
    expect(await thermo.next('nack')).toMatchObject({ seq: 61, count: 60, retryable: true });
    await eventually(() => expect(thermo.messages).toContainEqual(expect.objectContaining({ type: 'ack' })));
    thermo.send(frameOf(60));
    await eventually(() => expect(thermo.messages).toContainEqual(expect.objectContaining({ type: 'ack', upTo: 180 })));
    await eventually(() => expect(of('thermo-18')).toHaveLength(120));
  });

  it('is replaced by its own newer session with 4409', async () => {
    const older = await device('thermo-15');
    const newer = await device('thermo-15');
    expect(await older.closed).toMatchObject({ code: 4409 });
    newer.send(telemetry(1));
    await newer.next('ack');
  });

  it('learns from hello after a reconnect which readings are settled', async () => {
    const first = await device('thermo-16', '?epoch=b');
    first.send(telemetry(1));
    first.send(telemetry(2));
    await eventually(() => expect(first.messages).toContainEqual({ type: 'ack', upTo: 2 }));
    first.socket.close();
    await first.closed;
    await eventually(async () => {
      const again = await device('thermo-16', '?epoch=b');
      expect(await again.next('hello')).toMatchObject({ lastSeq: 2 });
    });
  });
});

it('a device that answers no ping is cut', async () => {
  const edge = await ingest(await freshVhost(), { HEARTBEAT_INTERVAL_MS: '200' });
  const silent = await connect(edge.webSocketUrl, { token: await token('silent'), autoPong: false });
  expect(await silent.closed).toMatchObject({ code: 1006 });
});

it('a device that never reads its answers is cut, so that they do not fill the memory of the edge', async () => {
  const edge = await ingest(await freshVhost(), {
    OUTBOUND_BYTES_MAX: '65536',
    UNPRODUCTIVE_FRAMES_PER_SECOND_MAX: '100000',
  });
  const deaf = await connect(edge.webSocketUrl, { token: await token('deaf') });
  await deaf.next('hello');
  deaf.socket.pause();
  // Each frame is answered with a thousand nacks, which the device does not read.
  const frame = JSON.stringify({
    type: 'telemetry',
    seq: 1,
    readings: Array.from({ length: 1_000 }, (_, n) => ({ ts: n % 2 === 0 ? 1 : 'later' })),
  });
  await eventually(async () => {
    deaf.send(frame);
    expect(await (await fetch(`${edge.url}/metrics`)).text()).toContain('closed_sockets_total{reason="slow-reader"} 1');
  });
});
