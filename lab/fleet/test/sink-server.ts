import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { parseDeviceFrame } from '@fleetwire/contracts/device-protocol';
import { WebSocketServer } from 'ws';

/** A server that takes every reading by the rules of the contracts and acks it, as a measure for fleets. */
export type SinkServer = AsyncDisposable & {
  readonly url: string;
  /** Identities of the good readings. */
  readonly stored: ReadonlySet<string>;
  readonly received: number;
};

export async function startSinkServer(): Promise<SinkServer> {
  const stored = new Set<string>();
  let received = 0;
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', (socket) => {
    const send = (message: object) => socket.send(JSON.stringify(message));
    send({
      type: 'hello',
      sessionId: 's',
      deviceId: 'gateway',
      epoch: 'e',
      serverTime: '',
      limits: {
        payloadBytesMax: 262_144,
        readingsPerFrameMax: 1_000,
        metricsPerReadingMax: 256,
        inFlightMax: 50,
        heartbeatIntervalMs: 10_000,
      },
    });
    socket.on('message', (data: Buffer, isBinary) => {
      const frame = isBinary ? undefined : parseDeviceFrame(data.toString(), Date.now());
      if (!frame?.ok || frame.value.type !== 'telemetry' || frame.value.telemetry.seq === undefined)
        return send({ type: 'error', code: 'wrong-type', message: '', retryable: false });
      const { deviceId, epoch, seq, observations, issues } = frame.value.telemetry;
      received += observations.length;
      for (const { index, issue } of issues)
        send({
          type: 'nack',
          seq: seq + index,
          count: 1,
          code: issue.code,
          message: '',
          retryable: false,
          deviceId,
          epoch,
        });
      for (const [index, observation] of observations.entries())
        if (observation !== undefined) stored.add(`${deviceId} ${epoch} ${seq + index}`);
      send({ type: 'ack', upTo: seq + observations.length - 1, deviceId, epoch });
    });
  });
  await once(server, 'listening');
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`,
    stored,
    get received() {
      return received;
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
