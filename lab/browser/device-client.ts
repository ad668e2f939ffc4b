import { once } from 'node:events';
import { WebSocket } from 'ws';
import { keys, url } from './dashboard.ts';

/** A device of the shared platform. */
export interface Device {
  /** @returns when it is acknowledged */
  send(metrics: Record<string, number | boolean | string>, at?: number): Promise<void>;
  /** Leaves a number out, so that a reading is missing. */
  skip(count: number): void;
  close(): Promise<void>;
}

/** A call as an admin. */
export async function call<Answer = unknown>(method: string, path: string, body?: unknown): Promise<Answer> {
  const headers = { authorization: `Bearer ${await keys.token('tests', 'admin')}`, 'content-type': 'application/json' };
  const answer = await fetch(`${url}/api/v1${path}`, {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as Answer;
}

/** Connects with a token of its own, answers each command, and sends readings one after the other. */
export async function connectDevice(
  deviceId: string,
  token?: string,
  /** Where the device goes on after a connection before: its boot, and the last number that it sent. */
  epoch = `${deviceId}-boot`,
  lastSeq = 0,
): Promise<Device> {
  const authorization = `Bearer ${token ?? (await keys.token(deviceId, 'device'))}`;
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws?epoch=${epoch}`, ['fleetwire.v1.json'], {
    headers: { authorization },
  });
  const waiting = new Map<number, () => void>();
  socket.on('message', (data) => {
    const message = JSON.parse((data as Buffer).toString('utf8')) as {
      type: string;
      upTo?: number;
      id?: string;
      command?: string;
    };
    if (message.type === 'ack')
      for (const [seq, acknowledged] of waiting) {
        if (seq > message.upTo!) continue;
        waiting.delete(seq);
        acknowledged();
      }
    if (message.type !== 'control') return;
    socket.send(JSON.stringify({ type: 'control-received', id: message.id }));
    socket.send(JSON.stringify({ type: 'control-result', id: message.id, ok: true, result: { did: message.command } }));
  });
  await once(socket, 'open');
  let seq = lastSeq;
  return {
    send: (metrics, at = Date.now()) => {
      seq += 1;
      const own = seq;
      const acknowledged = new Promise<void>((resolve) => waiting.set(own, resolve));
      socket.send(JSON.stringify({ type: 'telemetry', seq: own, ts: at, metrics }));
      return acknowledged;
    },
    skip: (count) => void (seq += count),
    close: async () => {
      if (socket.readyState === WebSocket.CLOSED) return;
      socket.close();
      await once(socket, 'close');
    },
  };
}
