import type { LiveHistoryBeginning } from '@fleetwire/contracts/live-history';
import type { Range } from '@fleetwire/contracts/range-set';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { LiveFilter } from './live-filter.ts';
import { type EdgeInHistory, type HistoryQuestion, type RangesByEdge, openEnd } from './watch.ts';

/** The history refuses the question for good: the same one would be refused again. */
export class HistoryRefusal extends Error {}

/** Where the history of a subscription begins: device time, or arrival. `resumedFrom` is the time of a cursor, which the answer is asked about. */
export interface HistoryStart {
  /** RFC 3339. */
  readonly since?: string | undefined;
  /** Epoch milliseconds. */
  readonly receivedSince?: number;
  readonly resumedFrom?: number | undefined;
}

export interface HistoryBeginning {
  readonly edges: ReadonlyMap<string, EdgeInHistory>;
  readonly installation: string;
  /** Readings from before it are deleted; undefined where none are. */
  readonly earliest: number | undefined;
  /** Edges with numbers of the question whose positions are deleted. */
  readonly uncovered: readonly string[];
}

type HistoryPart = HistoryBeginning | { readonly rows: readonly IdentifiedReading[] } | { readonly left: RangesByEdge };

export interface HistoryClient {
  /** Reads with the subscriber's own token: the history decides what it may read. @throws {HistoryRefusal} or any other error for a failure that may pass */
  read(
    question: HistoryQuestion,
    of: { filter: LiveFilter; start: HistoryStart; token: string | undefined; signal: AbortSignal },
  ): AsyncIterable<HistoryPart>;
}

/** A part is written as a whole, once there is room for it. */
const rowsPerPartMax = 500;
const partBytesMax = 256 * 1024;
const answerTimeoutMs = 10_000;
const permanent = new Set([400, 403, 404, 413, 422]);

/** `POST /api/v1/live/history` of query-api: docs/positions.md. */
export function createHistoryClient(queryApiUrl: string | Promise<string>): HistoryClient {
  return {
    async *read(question, { filter, start, token, signal }) {
      const { devices, patterns, tags, deviceType, metrics } = filter;
      const ranges = Object.fromEntries(
        Object.entries(question.ranges).map(([edge, list]) => [
          edge,
          list.map(([first, last]) => [first, last === openEnd ? null : last]),
        ]),
      );
      const { since, receivedSince, resumedFrom } = start;
      const isReading = question.first && (since !== undefined || receivedSince !== undefined);
      const connecting = new AbortController();
      const timeout = setTimeout(() => connecting.abort(new Error('no answer in time')), answerTimeoutMs);
      try {
        const response = await fetch(new URL('/api/v1/live/history', await queryApiUrl), {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          },
          body: JSON.stringify({
            filter: { devices, patterns, tags, deviceType, metrics },
            ...(isReading
              ? { since, receivedSince: isoOf(receivedSince) }
              : { ranges, resumedFrom: isoOf(resumedFrom) }),
          }),
          signal: AbortSignal.any([signal, connecting.signal]),
        });
        clearTimeout(timeout);
        if (!response.ok || response.body === null) throw await failureOf(response);
        yield* partsOf(response.body);
      } finally {
        clearTimeout(timeout);
      }
    },
  };
}

/** @returns a {@link HistoryRefusal} where the same question would be refused again */
export async function failureOf(response: Response, asked = 'the history'): Promise<Error> {
  const text = await response.text();
  const detail = /"detail":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text.slice(0, 200);
  const message = `${asked} answered ${response.status}: ${detail}`;
  return permanent.has(response.status) ? new HistoryRefusal(message) : new Error(message);
}

async function* partsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<HistoryPart> {
  let isBegun = false;
  let isEnded = false;
  let rows: IdentifiedReading[] = [];
  let bytes = 0;
  for await (const line of linesOf(body)) {
    const value = JSON.parse(line) as Record<string, unknown>;
    if (!isBegun) {
      isBegun = true;
      yield beginningOf(value as unknown as LiveHistoryBeginning);
    } else if ('end' in value) {
      isEnded = true;
      if (rows.length > 0) yield { rows };
      yield { left: leftOf((value['left'] ?? {}) as Record<string, (readonly [number, number | null])[]>) };
    } else {
      rows.push(readingOf(value as unknown as WireReading));
      bytes += line.length;
      if (rows.length < rowsPerPartMax && bytes < partBytesMax) continue;
      yield { rows };
      rows = [];
      bytes = 0;
    }
  }
  if (!isEnded) throw new Error('the history was cut off');
}

function beginningOf({
  installation,
  keys,
  settled,
  closed,
  earliest,
  uncovered = [],
}: LiveHistoryBeginning): HistoryPart {
  const edges = new Map<string, EdgeInHistory>();
  for (const [edge, number] of Object.entries(settled))
    edges.set(edge, { key: keys[edge] ?? 0, settled: number, isClosed: false });
  for (const [edge, number] of Object.entries(closed))
    edges.set(edge, { key: keys[edge] ?? 0, settled: number, isClosed: true });
  return { edges, installation, uncovered, earliest: earliest === undefined ? undefined : Date.parse(earliest) };
}

function leftOf(left: Record<string, readonly (readonly [number, number | null])[]>): RangesByEdge {
  return Object.fromEntries(
    Object.entries(left).map(([edge, ranges]) => [
      edge,
      ranges.map(([first, last]): Range => [first, last ?? openEnd]),
    ]),
  );
}

function isoOf(epochMs: number | undefined): string | undefined {
  return epochMs === undefined ? undefined : new Date(epochMs).toISOString();
}

type WireReading = Omit<IdentifiedReading, 'ts' | 'receivedAt'> & { readonly ts: string; readonly receivedAt: string };

function readingOf({ ts, receivedAt, ...rest }: WireReading): IdentifiedReading {
  return { ...rest, ts: Date.parse(ts), receivedAt: Date.parse(receivedAt) };
}

export async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop()!;
    for (const line of lines) if (line !== '') yield line;
  }
  if (rest.trim() !== '') yield rest;
}
