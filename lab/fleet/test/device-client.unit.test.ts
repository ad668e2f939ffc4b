import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type DeviceClientOptions, startDeviceClient } from '../device-client.ts';
import { LinkRefusedError } from '../uplink.ts';
import {
  type DeviceConnection,
  type DeviceServerOptions,
  type ReceivedFrame,
  startDeviceServer,
} from './device-server.ts';

const at = (ts: number) => ({ ts, metrics: { temperature: 21 } });
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
const lastSeqOf = ({ seq, readings }: ReceivedFrame) => seq + (readings?.length ?? 1) - 1;
const ackAll = (connection: DeviceConnection, frame: ReceivedFrame) => connection.ack(lastSeqOf(frame));

async function startPair(serverOptions: DeviceServerOptions = {}, clientOptions: Partial<DeviceClientOptions> = {}) {
  const server = await startDeviceServer(serverOptions);
  const client = startDeviceClient({
    url: server.url,
    deviceId: 'thermo-1',
    backoff: { baseMs: 5, capMs: 20 },
    answerTimeoutMs: 200,
    ...clientOptions,
  });
  onTestFinished(async () => {
    await client.stop({ settleTimeoutMs: 0 });
    await server[Symbol.asyncDispose]();
  });
  return { server, client };
}

describe('device client', () => {
  it('sends its token and its epoch, numbers its readings from 1, and settles them with the ack', async () => {
    const { server, client } = await startPair({ onFrame: ackAll }, { token: 'secret', epoch: 'boot-7' });
    expect(client.send(at(1_000), at(2_000))).toBe(1);
    expect(client.send(at(3_000))).toBe(3);
    await client.whenSettled();
    const { request, frames } = server.connection(1);
    expect(request.headers.authorization).toBe('Bearer secret');
    expect(request.url).toBe('/ws?epoch=boot-7');
    expect(frames.flatMap(({ ts, readings }) => readings?.map((reading) => reading.ts) ?? [ts])).toEqual([
      1_000, 2_000, 3_000,
    ]);
    expect([...client.journal.acked]).toEqual([[1, 3]]);
    expect(client.statistics.latency.count).toBe(3);
  });

  it('names device and epoch in every frame as a gateway, and ignores acks of other streams', async () => {
    const { server, client } = await startPair(
      { hello: () => ({ deviceId: 'gateway', epoch: 'other' }) },
      { isGateway: true, epoch: 'e1' },
    );
    client.send(at(1));
    await eventually(() => expect(server.connection(1).frames).toMatchObject([{ deviceId: 'thermo-1', epoch: 'e1' }]));
    server.connection(1).send({ type: 'ack', upTo: 1, deviceId: 'thermo-2', epoch: 'e1' });
    server.connection(1).send({ type: 'ack', upTo: 1, deviceId: 'thermo-1', epoch: 'e0' });
    server.connection(1).send({ type: 'pong', ts: 0 });
    expect(client.unsettled).toBe(1);
    server.connection(1).send({ type: 'ack', upTo: 1, deviceId: 'thermo-1', epoch: 'e1' });
    await client.whenSettled();
  });

  it('answers a command, and one that comes again with the same result without carrying it out twice', async () => {
    const { server, client } = await startPair();
    const { send, frames } = await eventually(() => server.connection(1));
    const control = { type: 'control', id: 'c1', command: 'set', args: { min: 1 }, expiresAt: '', attempt: 1 } as const;
    send(control);
    send({ ...control, args: { min: 2 }, attempt: 2 });
    send({ ...control, id: 'c2', command: 'fail' });
    send({ ...control, id: 'c3', deviceId: 'thermo-2' });
    const received = (id: string) => ({ type: 'control-received', id });
    const result = (id: string, outcome: object) => ({ type: 'control-result', id, ...outcome });
    const first = [received('c1'), result('c1', { ok: true, result: { min: 1 } })];
    const failed = result('c2', {
      ok: false,
      error: { code: 'simulated', message: 'simulated devices fail this command' },
    });
    await eventually(() => expect(frames).toEqual([...first, ...first, received('c2'), failed]));
    expect(client.statistics).toMatchObject({ commands: 2, repeatedCommands: 1 });
  });

  it('keeps at most as many readings in flight as the server allows', async () => {
    const { server, client } = await startPair({ limits: { inFlightMax: 5 } });
    client.send(...upTo(12).map(at));
    await eventually(() => expect(server.connection(1).seqs).toEqual(upTo(5)));
    server.connection(1).ack(3);
    await eventually(() => expect(server.connection(1).seqs).toEqual(upTo(8)));
  });

  it('resends readings after a retryable nack, after the delay of the nack and before any new readings', async () => {
    const { server, client } = await startPair();
    client.send(at(1), at(2), at(3));
    await eventually(() => expect(server.connection(1).seqs).toEqual([1, 2, 3]));
    const nackedAt = performance.now();
    server
      .connection(1)
      .send({ type: 'nack', seq: 2, count: 1, code: 'overloaded', message: '', retryable: true, retryAfterMs: 60 });
    server.connection(1).ack(1);
    await eventually(() => expect(client.journal.postponed.size).toBe(1));
    client.send(at(4));
    await eventually(() => expect(server.connection(1).seqs).toEqual([1, 2, 3, 2, 4]));
    expect(performance.now() - nackedAt).toBeGreaterThan(55);
    server.connection(1).ack(4);
    await client.whenSettled();
    expect([...client.journal.acked]).toEqual([[1, 4]]);
    expect(client.journal.resentReadings).toBe(1);
  });

  it('gives up a reading after a final nack, and keeps the other readings of the frame', async () => {
    const { client } = await startPair({
      onFrame: (connection, frame) => {
        connection.send({ type: 'nack', seq: 2, count: 1, code: 'not-finite', message: '', retryable: false });
        ackAll(connection, frame);
      },
    });
    client.send(at(1), at(2), at(3));
    await client.whenSettled();
    expect([...client.journal.refused]).toEqual([[2, 2]]);
    expect([...client.journal.acked]).toEqual([
      [1, 1],
      [3, 3],
    ]);
    expect(client.journal.nacksByCode.get('not-finite')).toBe(1);
  });

  it('resends unacknowledged readings after a lost connection, with the same numbers and epoch', async () => {
    const { server, client } = await startPair(
      {
        onFrame: (connection, frame, n) => {
          if (n > 1) return ackAll(connection, frame);
          if (frame.seq === 1) connection.ack(1);
          else connection.socket.terminate();
        },
      },
      { readingsPerFrameMax: 1 },
    );
    client.send(at(1));
    client.send(at(2));
    await client.whenSettled();
    expect(server.connection(2).seqs).toEqual([2]);
    expect(server.connection(2).request.url).toBe(server.connection(1).request.url);
    expect([...client.journal.acked]).toEqual([[1, 2]]);
  });

  it.for([1001, 1012, 1013, 4429])('reconnects after close code %i', async (code) => {
    const { server, client } = await startPair({
      onFrame: (connection, frame, n) => {
        if (n === 1) connection.socket.close(code);
        else ackAll(connection, frame);
      },
    });
    client.send(at(1));
    await client.whenSettled();
    expect(server.connections).toHaveLength(2);
    expect(client.statistics.disconnects.get(String(code))).toBe(1);
  });

  it.for([4400, 4401, 4403, 4409, 1009])(
    'does not reconnect after close code %i, and reports the reason to waiting callers',
    async (code) => {
      const { server, client } = await startPair({ onFrame: ({ socket }) => socket.close(code, 'no') });
      client.send(at(1));
      await expect(client.whenSettled()).rejects.toThrow(new LinkRefusedError(String(code), 'no'));
      expect(server.connections).toHaveLength(1);
      await client.stop();
      expect([...client.journal.givenUp]).toEqual([[1, 1]]);
    },
  );

  it('does not reconnect after 401 to the upgrade, and reconnects after 503', async () => {
    const refused = await startPair({ rejectWithStatus: () => 401 });
    refused.client.send(at(1));
    await expect(refused.client.whenSettled()).rejects.toMatchObject({ code: 'HTTP 401' });

    const { client } = await startPair({ rejectWithStatus: (n) => (n < 3 ? 503 : undefined), onFrame: ackAll });
    client.send(at(1));
    await client.whenSettled();
    expect(client.statistics.disconnects.get('503')).toBe(2);
  });

  it('does not resend readings that the hello reports as settled', async () => {
    const { server, client } = await startPair(
      {
        hello: (_request, n) => (n === 1 ? {} : { lastSeq: 2 }),
        onFrame: (connection, frame, n) => {
          if (n === 1 && frame.seq === 3) connection.socket.terminate();
          if (n === 2) ackAll(connection, frame);
        },
      },
      { readingsPerFrameMax: 1 },
    );
    for (const ts of upTo(3)) client.send(at(ts));
    await client.whenSettled();
    expect(server.connection(2).seqs).toEqual([3]);
    expect([...client.journal.acked]).toEqual([[1, 3]]);
  });

  it('reconnects when the server sends no hello', async () => {
    const { client } = await startPair({ hello: (_request, n) => (n === 1 ? 'none' : {}), onFrame: ackAll });
    client.send(at(1));
    await client.whenSettled();
    expect(client.statistics.connects).toBe(1);
  });

  it('reconnects when the server sends nothing for several heartbeat intervals', async () => {
    const { server, client } = await startPair({
      limits: { heartbeatIntervalMs: 40 },
      onFrame: (connection, frame, n) => {
        // Reads nothing more: no pong either, as behind a half-open connection.
        if (n === 1) connection.socket.pause();
        else ackAll(connection, frame);
      },
    });
    client.send(at(1));
    await client.whenSettled();
    expect(server.connections).toHaveLength(2);
  });

  it('buffers readings while offline, and drops the oldest when the buffer is full', async () => {
    const { server, client } = await startPair(
      { rejectWithStatus: (n) => (n < 4 ? 503 : undefined), onFrame: ackAll },
      { bufferReadingsMax: 10 },
    );
    client.send(...upTo(13).map(at));
    await client.whenSettled();
    expect(server.connection(1).seqs).toEqual(upTo(13).slice(3));
    expect([...client.journal.givenUp]).toEqual([[1, 3]]);
  });

  it('ignores messages of unknown types', async () => {
    const { server, client } = await startPair({
      onFrame: (connection, frame) => {
        connection.socket.send('{"type":"weather","sunny":true}');
        ackAll(connection, frame);
      },
    });
    client.send(at(1));
    await client.whenSettled();
    expect(client.journal.acked.size).toBe(1);
    expect(server.connections).toHaveLength(1);
  });

  it('waits for outstanding acks when it is stopped', async () => {
    const { client } = await startPair({
      onFrame: (connection, frame) => setTimeout(() => ackAll(connection, frame), 50),
    });
    client.send(at(1));
    await client.stop();
    expect(client.journal.acked.size).toBe(1);
    expect(client.journal.givenUp.size).toBe(0);
  });
});
