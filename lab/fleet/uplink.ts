import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';
import type { Backoff } from '@fleetwire/contracts/backoff';
import type { Random } from './random.ts';
import type { Stream } from './stream.ts';

/** The way of one stream to the server; it comes back by itself until it is closed or refused. */
export interface Uplink {
  /** There may be something to send. */
  pump(): void;
  /** Sends text past the outbox: its answer is counted, not waited for. @returns whether it went out */
  sendRaw(text: string | Buffer): boolean;
  close(): Promise<void>;
}

export interface UplinkOptions {
  readonly stream: Stream;
  readonly url: string;
  readonly token: string | undefined;
  /** Names device and epoch in every frame, for a token that may publish for any device. */
  readonly isGateway: boolean;
  readonly readingsPerFrameMax: number;
  readonly backoff: Backoff;
  /** How long the server may take to answer: the handshake, the hello, an HTTP request. */
  readonly answerTimeoutMs: number;
  readonly random: Random;
  readonly statistics: LinkStatistics;
}

/** Counted over all links that share it. */
export interface LinkStatistics {
  connected: number;
  connects: number;
  /** By WebSocket close code, HTTP status or socket error code. */
  readonly disconnects: Map<string, number>;
  /** `error` messages: what was refused without a number. */
  readonly errors: Map<string, number>;
  /** Sending to ack of each reading, in microseconds. */
  readonly latency: RecordableHistogram;
}

export function newLinkStatistics(): LinkStatistics {
  return { connected: 0, connects: 0, disconnects: new Map(), errors: new Map(), latency: createHistogram() };
}

export function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** The server will not have this device as it is; trying again is of no use. */
export class LinkRefusedError extends Error {
  readonly code: string;

  constructor(code: string, reason: string) {
    super(`refused for good (${code}${reason === '' ? '' : `: ${reason}`})`);
    this.name = 'LinkRefusedError';
    this.code = code;
  }
}

/** The URL for telemetry on the server of `url`: any URL of the server will do, scheme and path are replaced. */
export function endpointOf(url: string, isHttp: boolean): string {
  const endpoint = new URL(url);
  const isSecure = endpoint.protocol === 'wss:' || endpoint.protocol === 'https:';
  const scheme = isHttp ? 'http' : 'ws';
  return `${scheme}${isSecure ? 's' : ''}://${endpoint.host}${isHttp ? '/api/v1/telemetry' : '/ws'}`;
}
