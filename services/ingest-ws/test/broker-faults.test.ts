import { openBrokerConnection } from '@fleetwire/broker/connection';
import { exchanges, queues, routingKeys } from '@fleetwire/broker/topology';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { connect, ingest, logger, queued, telemetry, token, untilReady } from './harness.ts';

describe('while the broker fails, a device', async () => {
  it('gets no ack before the confirm, and a retryable nack when none comes in time', async () => {
    const edge = await ingest(await freshVhost(), { CONFIRM_TIMEOUT_MS: '1000' });
    const device = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    edge.proxy.stall();
    device.send(telemetry(1));
    expect(await device.next('nack')).toMatchObject({
      seq: 1,
      count: 1,
      code: 'broker-unavailable',
      retryable: true,
      retryAfterMs: expect.any(Number),
    });
    expect(device.messages.some(({ type }) => type === 'ack')).toBe(false);

    edge.proxy.resume();
    edge.proxy.reset();
    await untilReady(edge);
    device.send(telemetry(1));
    expect(await device.next('ack')).toEqual({ type: 'ack', upTo: 1 });
  });

  it('keeps its socket, is nacked while the broker is away, and acked once it is back', async () => {
    const edge = await ingest(await freshVhost());
    const device = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    edge.proxy.refuse();
    await eventually(() => {
      device.send(telemetry(1));
      expect(device.messages.some(({ type }) => type === 'nack')).toBe(true);
    });
    edge.proxy.resume();
    await untilReady(edge);
    device.send(telemetry(1));
    await device.next('ack');
    expect(device.socket.readyState).toBe(1);
  });

  it('is not told after a reconnect that readings are settled which were nacked', async () => {
    const edge = await ingest(await freshVhost());
    const first = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    first.send(telemetry(1));
    await first.next('ack');
    edge.proxy.refuse();
    await eventually(() => {
      first.send(telemetry(2));
      expect(first.messages.some(({ type }) => type === 'nack')).toBe(true);
    });
    first.socket.close();
    await first.closed;
    edge.proxy.resume();
    await untilReady(edge);
    await eventually(async () => {
      const again = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
      expect((await again.next('hello')).lastSeq).toBeDefined();
    });
    const again = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    expect(await again.next('hello')).toMatchObject({ lastSeq: 1 });
  });

  it('is nacked with a delay that grows with the outage, and starts again after it', async () => {
    const edge = await ingest(await freshVhost());
    const device = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    const delays = () => device.messages.flatMap((one) => (one.type === 'nack' ? [one.retryAfterMs ?? 0] : []));
    edge.proxy.refuse();
    await eventually(() => {
      device.send(telemetry(1));
      expect(Math.max(...delays())).toBeGreaterThan(4_000);
    });
    expect(delays()[0]).toBeLessThanOrEqual(2_000);
    edge.proxy.resume();
    await untilReady(edge);
    // An ack comes after all nacks of the outage.
    await eventually(() => {
      device.send(telemetry(1));
      expect(device.messages.some(({ type }) => type === 'ack')).toBe(true);
    });
    device.messages.splice(0);
    edge.proxy.refuse();
    await eventually(() => {
      device.send(telemetry(1));
      expect(delays()[0]).toBeLessThanOrEqual(2_000);
    });
  });

  it('is nacked when no queue is bound, and acked when the binding is restored', async () => {
    const amqpUrl = await freshVhost();
    const edge = await ingest(amqpUrl);
    const operator = openBrokerConnection({ url: amqpUrl, name: 'operator', logger });
    await operator.opened;
    const channel = await operator.openChannel();
    await channel.unbindQueue(queues.persist, exchanges.telemetry, routingKeys.persist);
    const device = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    device.send(telemetry(1));
    expect(await device.next('nack')).toMatchObject({ seq: 1, code: 'broker-unavailable', retryable: true });
    await eventually(() => {
      device.send(telemetry(1));
      expect(device.messages).toContainEqual({ type: 'ack', upTo: 1 });
    });
    await operator.close();
  });

  it('is nacked with a time to try again while the queue is full, and acked when there is room', async () => {
    const amqpUrl = await freshVhost();
    const bounds = { persistMessagesMax: 3 };
    const edge = await ingest(amqpUrl, { ENVELOPE_READINGS_MAX: '1', ENVELOPE_LINGER_MS: '0' }, bounds);
    const device = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    let seq = 0;
    await eventually(() => {
      seq += 1;
      device.send(telemetry(seq));
      expect(
        device.messages.some(
          (message) => message.type === 'nack' && message.code === 'overloaded' && message.retryable,
        ),
      ).toBe(true);
    });
    const readings = await queued(amqpUrl, bounds);
    await eventually(
      () => {
        for (let again = 1; again <= seq; again += 1) device.send(telemetry(again));
        expect(device.messages.findLast(({ type }) => type === 'ack')).toEqual({ type: 'ack', upTo: seq });
      },
      { intervalMs: 200 },
    );
    await eventually(() => expect(new Set(readings.map((reading) => reading.seq)).size).toBe(seq));
  });

  it('is paused while too many bytes await confirms, nacked beyond that, and acked afterwards', async () => {
    const amqpUrl = await freshVhost();
    const edge = await ingest(amqpUrl, {
      PAYLOAD_BYTES_MAX: '32768',
      ENVELOPE_BYTES_MAX: '16384',
      BUFFER_BYTES_MAX: '65536',
      PUBLISH_BYTES_IN_FLIGHT_MAX: '65536',
      PUBLISH_MESSAGES_IN_FLIGHT_MAX: '1',
      IN_FLIGHT_MAX: '100000',
      CONFIRM_TIMEOUT_MS: '60000',
    });
    const devices = await Promise.all(
      ['a', 'b', 'c'].map(async (id) => connect(`${edge.webSocketUrl}?epoch=e`, { token: await token(id) })),
    );
    edge.proxy.stall();
    const frame = (seq: number) => ({ type: 'telemetry', seq, ts: Date.now(), metrics: { text: 'x'.repeat(1_000) } });
    const total = 200;
    for (const device of devices) for (let seq = 1; seq <= total; seq += 1) device.send(frame(seq));
    const congested = async () =>
      Number(/^fleetwire_ingest_congested (\d)/m.exec(await (await fetch(`${edge.url}/metrics`)).text())?.[1]);
    await eventually(async () => expect(await congested()).toBe(1));
    edge.proxy.resume();
    await eventually(async () => expect(await congested()).toBe(0));

    // Nacked readings are sent again, in order, until all are acked.
    for (const device of devices) {
      await eventually(
        () => {
          const nacked = device.messages
            .splice(0)
            .filter((message) => message.type === 'nack' || message.type === 'ack');
          for (const message of nacked)
            if (message.type === 'nack')
              for (let seq = message.seq; seq < message.seq + message.count; seq += 1) device.send(frame(seq));
          expect(nacked).toContainEqual({ type: 'ack', upTo: total });
        },
        { intervalMs: 100 },
      );
    }
  });
});

describe('while the broker does not answer', async () => {
  const amqpUrl = await freshVhost();
  // One envelope is published and waits for its confirm; all further readings are queued behind it.
  const edge = await ingest(amqpUrl, {
    ANSWER_TIMEOUT_MS: '1000',
    CONFIRM_TIMEOUT_MS: '60000',
    PUBLISH_MESSAGES_IN_FLIGHT_MAX: '1',
    ENVELOPE_READINGS_MAX: '1',
    ENVELOPE_LINGER_MS: '0',
  });
  const readings = await queued(amqpUrl);
  const results = async () => {
    const text = await (await fetch(`${edge.url}/metrics`)).text();
    return Object.fromEntries(
      [...text.matchAll(/^fleetwire_ingest_readings_total\{result="(\w+)"\} (\d+)/gm)].map(([, name, n]) => [
        name,
        Number(n),
      ]),
    );
  };

  it('published and queued readings get a retryable nack, or 503 with Retry-After, within ANSWER_TIMEOUT_MS of their arrival', async () => {
    const device = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    edge.proxy.stall();
    const sentAt = performance.now();
    for (const seq of [1, 2, 3]) device.send(telemetry(seq));
    const answer = await fetch(`${edge.url}/api/v1/telemetry`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await token('http')}`, 'content-type': 'application/json' },
      body: JSON.stringify({ epoch: 'b', seq: 1, ts: Date.now(), metrics: { t: 1 } }),
      signal: AbortSignal.timeout(10_000),
    });
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await answer.json()).toMatchObject({ detail: expect.stringContaining('1000 ms') });
    await eventually(() => expect(device.messages.filter(({ type }) => type === 'nack')).toHaveLength(3));
    // A busy machine may add to the second; without the bound nothing is answered for 60 s.
    expect(performance.now() - sentAt).toBeLessThan(10_000);
    expect(device.messages.filter(({ type }) => type === 'nack')).toMatchObject(
      [1, 2, 3].map((seq) => ({ seq, count: 1, code: 'broker-unavailable', retryable: true })),
    );

    // The confirm of the published reading comes late: it changes no answer, and the device sends the reading again.
    edge.proxy.resume();
    await eventually(() => expect(readings.map(({ seq }) => seq)).toEqual([1]));
    expect(device.messages.some(({ type }) => type === 'ack')).toBe(false);
    for (const seq of [1, 2, 3]) device.send(telemetry(seq));
    await eventually(() => expect(device.messages).toContainEqual({ type: 'ack', upTo: 3 }));
    await eventually(() => expect(readings.map(({ seq }) => seq)).toEqual([1, 1, 2, 3]));
    expect(await results()).toEqual({ received: 7, accepted: 3, rejected: 0, nacked: 4, unconfirmed: 1 });
    expect(await (await fetch(`${edge.url}/metrics`)).text()).toContain('fleetwire_ingest_answer_timeouts_total 4');
  });
});

describe('stopping', () => {
  it('acks all readings in flight, closes sockets with 1001 and refuses new ones', async () => {
    const amqpUrl = await freshVhost();
    const edge = await ingest(amqpUrl, { ENVELOPE_LINGER_MS: '1000' });
    const readings = await queued(amqpUrl);
    const device = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    for (let seq = 1; seq <= 50; seq += 1) device.send(telemetry(seq));
    device.send({ type: 'ping' });
    await device.next('pong');
    await edge.stop();
    expect(await device.closed).toMatchObject({ code: 1001 });
    expect(device.messages.findLast(({ type }) => type === 'ack')).toEqual({ type: 'ack', upTo: 50 });
    await eventually(() => expect(readings).toHaveLength(50));
    await expect(connect(edge.webSocketUrl, { token: await token('a') })).rejects.toThrow();
  });
});
