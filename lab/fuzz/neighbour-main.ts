import { parentPort, workerData } from 'node:worker_threads';
import WebSocket from 'ws';
import type { NeighbourOptions, NeighbourReport } from './neighbour.ts';

// A device that keeps the protocol's rules, in a thread of its own: its latencies are those of the services, not of the fuzzer's event loop.
// It shares no code with the services or the fleet.

const { url, token, epoch, intervalMs } = workerData as NeighbourOptions;
const sentAt = new Map<number, number>();
const refused: number[] = [];
let latencies: number[] = [];
let upTo = -1;
let next = 0;
let reconnects = -1;
let socket: WebSocket;

function connect(): void {
  reconnects += 1;
  socket = new WebSocket(`${url}?epoch=${epoch}`, 'fleetwire.v1.json', {
    headers: { authorization: `Bearer ${token}` },
  });
  socket.on('open', () => [...sentAt.keys()].toSorted((a, b) => a - b).forEach(send));
  socket.on('message', (data: Buffer) => receive(JSON.parse(data.toString('utf8')) as Answer));
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(connect, 250));
}

interface Answer {
  readonly type: string;
  readonly upTo: number;
  readonly seq: number;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
}

function receive({ type, upTo: acked, seq, retryable, retryAfterMs = 100 }: Answer): void {
  if (type === 'nack') {
    if (retryable) setTimeout(() => send(seq), retryAfterMs);
    else {
      refused.push(seq);
      sentAt.delete(seq);
    }
  }
  if (type !== 'ack') return;
  upTo = Math.max(upTo, acked);
  const now = performance.now();
  for (const [number, at] of sentAt) {
    if (number > acked) continue;
    latencies.push(now - at);
    sentAt.delete(number);
  }
}

/** The content of a reading is the same whenever it is sent again. */
const startedAt = Date.now();

function send(seq: number): void {
  if (!sentAt.has(seq) || socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: 'telemetry', seq, ts: startedAt + seq * intervalMs, metrics: { quiet: seq } }));
}

connect();
const timer = setInterval(() => {
  sentAt.set(next, performance.now());
  send(next);
  next += 1;
}, intervalMs);

parentPort!.on('message', (wanted: 'report' | 'stop') => {
  if (wanted === 'stop') clearInterval(timer);
  const oldestMs = performance.now() - Math.min(performance.now(), ...sentAt.values());
  const report: NeighbourReport = { upTo, open: sentAt.size, oldestMs, refused: [...refused], reconnects, latencies };
  latencies = [];
  parentPort!.postMessage(report, []);
});
