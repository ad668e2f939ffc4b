import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';
import type { Backoff } from '@fleetwire/contracts/backoff';
import type { Random } from './random.ts';
import type { Stream } from './stream.ts';

/** Sends one stream to the server; reconnects by itself until it is closed or refused. */
export interface Uplink {
  /** Sends what the stream has, if the link allows. */
  pump(): void;
  /** Sends text without the outbox: its answer is counted, not awaited. @returns whether it was sent */
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
  /** Timeout for each answer of the server: handshake, hello, HTTP response. */
  readonly answerTimeoutMs: number;
  readonly random: Random;
  readonly statistics: LinkStatistics;
}

/** Totals of all links that share it. */
export interface LinkStatistics {
  connected: number;
  connects: number;
  /** By WebSocket close code, HTTP status or socket error code. */
  readonly disconnects: Map<string, number>;
  /** `error` messages, for frames that were refused without a number. */
  readonly errors: Map<string, number>;
  /** Commands that were carried out, and those that came again. */
  commands: number;
  repeatedCommands: number;
  /** From sending to ack of each reading, in microseconds. */
  readonly latency: RecordableHistogram;
}

export function newLinkStatistics(): LinkStatistics {
  return {
    connected: 0,
    connects: 0,
    disconnects: new Map(),
    errors: new Map(),
    commands: 0,
    repeatedCommands: 0,
    latency: createHistogram(),
  };
}

export function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** The server refuses this device for good: a retry would be refused as well. */
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
