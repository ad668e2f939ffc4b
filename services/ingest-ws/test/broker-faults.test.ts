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

  it('is nacked with a delay that grows with the outage, and starts again after it', async () => {
    const edge = await ingest(await freshVhost());
    const device = await connect(`${edge.webSocketUrl}?epoch=b`, { token: await token('a') });
    const delays = () => device.messages.flatMap((one) => (one.type === 'nack' ? [one.retryAfterMs ?? 0] : []));
    edge.proxy.refuse();
    await eventually(
      () => {
        device.send(telemetry(1));
        expect(Math.max(...delays())).toBeGreaterThan(4_000);
      },
      { timeoutMs: 20_000 },
    );
    expect(delays()[0]).toBeLessThanOrEqual(2_000);
    edge.proxy.resume();
    await untilReady(edge);
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
