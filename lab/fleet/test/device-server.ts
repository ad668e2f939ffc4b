import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HelloMessage, ServerMessage } from '@fleetwire/contracts/device-protocol';
import { type WebSocket, WebSocketServer } from 'ws';

export interface ReceivedFrame {
  type: string;
  seq: number;
  deviceId?: string;
  epoch?: string;
  readings?: { ts: number }[];
  ts?: number;
}

/** One connection of a device, scripted by the test. */
export interface DeviceConnection {
  readonly request: IncomingMessage;
  readonly frames: readonly ReceivedFrame[];
  readonly seqs: readonly number[];
  readonly socket: WebSocket;
  send(message: ServerMessage): void;
  ack(upTo: number): void;
}

export type DeviceServer = AsyncDisposable & {
  readonly url: string;
  readonly connections: readonly DeviceConnection[];
  /** The n-th connection, counted from 1. */
  connection(n: number): DeviceConnection;
};

export interface DeviceServerOptions {
  readonly hello?: (request: IncomingMessage, n: number) => Partial<HelloMessage> | 'none';
  readonly limits?: Partial<HelloMessage['limits']>;
  readonly onFrame?: (connection: DeviceConnection, frame: ReceivedFrame, n: number) => void;
  readonly rejectWithStatus?: (n: number) => number | undefined;
}

const limits: HelloMessage['limits'] = {
  payloadBytesMax: 262_144,
  readingsPerFrameMax: 1_000,
  metricsPerReadingMax: 256,
  inFlightMax: 100,
  heartbeatIntervalMs: 10_000,
};

/** Speaks the server's side of the protocol over a real socket, and nothing of its own accord but the hello. */
export async function startDeviceServer(options: DeviceServerOptions = {}): Promise<DeviceServer> {
  const connections: DeviceConnection[] = [];
  let attempts = 0;
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    verifyClient: (_info, callback) => {
      const status = options.rejectWithStatus?.((attempts += 1));
      callback(status === undefined, status);
    },
  });
  server.on('connection', (socket, request) => {
    const frames: ReceivedFrame[] = [];
    const send = (message: ServerMessage) => socket.send(JSON.stringify(message));
    const connection: DeviceConnection = {
      request,
      frames,
      socket,
      get seqs() {
        return frames.flatMap(({ seq, readings }) =>
          Array.from({ length: readings?.length ?? 1 }, (_, index) => seq + index),
        );
      },
      send,
      ack: (upTo) => send({ type: 'ack', upTo }),
    };
    const n = connections.push(connection);
    socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as ReceivedFrame;
      frames.push(frame);
      options.onFrame?.(connection, frame, n);
    });
    const said = options.hello?.(request, n);
    if (said === 'none') return;
    const epoch = new URL(request.url ?? '', 'ws://localhost').searchParams.get('epoch') ?? '';
    send({
      type: 'hello',
      sessionId: `s${n}`,
      deviceId: 'thermo-1',
      epoch,
      serverTime: new Date().toISOString(),
      limits: { ...limits, ...options.limits },
      ...said,
    });
  });
  await once(server, 'listening');
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`,
    connections,
    connection: (n) => {
      const connection = connections[n - 1];
      if (connection === undefined) throw new Error(`there is no connection ${n} yet`);
      return connection;
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
