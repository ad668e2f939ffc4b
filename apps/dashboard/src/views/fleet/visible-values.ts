import { type ReadonlySignal, type Signal, batch, signal } from '@preact/signals';
import { answerOf, api } from '../../api.ts';
import { decimalsOf } from '../../format.ts';
import { watch } from '../../live.ts';
import { createResource } from '../../resource.ts';
import { sparkPath } from './spark-path.ts';

/** What a row of the table shows of its metric. */
interface RowValue {
  readonly value: number | string | boolean | undefined;
  /** When it arrived, in milliseconds. */
  readonly at: number;
}

/** The last value of each minute of the last hour, drawn. */
interface RowSpark {
  readonly line: string;
  readonly end: { readonly x: number; readonly y: number } | undefined;
  readonly decimals: number;
}

/** One signal for each cell: a value that changes draws its own cell, and nothing else. */
export interface VisibleValues {
  valueOf(deviceId: string): ReadonlySignal<RowValue | undefined>;
  sparkOf(deviceId: string): ReadonlySignal<RowSpark | undefined>;
}

const restMs = 150;
const writesEveryMs = 250;
const sparkEveryMs = 30_000;
export const sparkSize = { widthPx: 132, heightPx: 22 } as const;

/**
 * Follows one metric of the rows in the viewport: an hour of it from the API, then live. Nothing outside of the viewport is subscribed to, and
 * values are written at most 4 times a second.
 */
export function followVisible(): {
  show(ids: readonly string[], metric: string | undefined): void;
  readonly held: VisibleValues;
  stop(): void;
} {
  const values = new Map<string, Signal<RowValue | undefined>>();
  const sparks = new Map<string, Signal<RowSpark | undefined>>();
  /** What has come since the last writing. */
  const arrived = new Map<string, RowValue>();
  let endLive = () => {};
  let endSparks = () => {};
  let rest: ReturnType<typeof setTimeout> | undefined;
  let write: ReturnType<typeof setTimeout> | undefined;
  let wanted: { readonly ids: readonly string[]; readonly metric: string | undefined } = { ids: [], metric: undefined };
  let wantedAt = 0;
  let followed = '';

  function writeArrived(): void {
    write = undefined;
    batch(() => {
      for (const [id, value] of arrived) of(values, id).value = value;
    });
    arrived.clear();
  }

  function follow(ids: readonly string[], metric: string): void {
    endLive();
    endSparks();
    endLive = watch({ devices: ids, metrics: [metric], mode: 'latest', maxRateHz: 4 }, (message) => {
      if (message.type !== 'data_update') return;
      for (const { deviceId, metrics } of message.readings) {
        const value = metrics[metric];
        if (value !== undefined && typeof value !== 'object') arrived.set(deviceId, { value, at: Date.now() });
      }
      write ??= setTimeout(writeArrived, writesEveryMs);
    });
    const resource = createResource((signal) => readSparks(ids, metric, signal), { everyMs: sparkEveryMs });
    const unsubscribe = resource.state.subscribe(({ data }) => {
      if (data === undefined) return;
      batch(() => {
        for (const [id, minutes] of data) {
          const known = minutes.filter((value) => value !== null);
          const { line, end } = sparkPath(minutes, sparkSize.widthPx, sparkSize.heightPx);
          const spark = of(sparks, id);
          if (spark.peek()?.line !== line) spark.value = { line, end, decimals: decimalsOf(known.slice(-10)) };
          const value = of(values, id);
          const last = known.at(-1);
          if (last !== undefined && value.peek() === undefined) value.value = { value: last, at: 0 };
        }
      });
    });
    endSparks = () => {
      unsubscribe();
      resource.stop();
    };
  }

  /** Rows that scroll by are not asked for. */
  function whenAtRest(): void {
    const restedMs = performance.now() - wantedAt;
    rest = restedMs < restMs ? setTimeout(whenAtRest, restMs - restedMs) : undefined;
    if (rest !== undefined) return;
    const { ids, metric } = wanted;
    const question = `${metric}\n${ids.toSorted().join('\n')}`;
    if (question === followed || metric === undefined || ids.length === 0) return;
    followed = question;
    follow(ids, metric);
  }

  return {
    show: (ids, metric) => {
      if (metric !== wanted.metric) {
        arrived.clear();
        batch(() => {
          for (const cell of [...values.values(), ...sparks.values()]) cell.value = undefined;
        });
      }
      wanted = { ids, metric };
      wantedAt = performance.now();
      rest ??= setTimeout(whenAtRest, restMs);
    },
    held: { valueOf: (id) => of(values, id), sparkOf: (id) => of(sparks, id) },
    stop: () => {
      clearTimeout(rest);
      clearTimeout(write);
      endLive();
      endSparks();
    },
  };
}

function of<Value>(cells: Map<string, Signal<Value | undefined>>, id: string): Signal<Value | undefined> {
  let cell = cells.get(id);
  if (cell === undefined) cells.set(id, (cell = signal<Value | undefined>(undefined)));
  return cell;
}

async function readSparks(
  devices: readonly string[],
  metric: string,
  signal: AbortSignal,
): Promise<Map<string, readonly (number | null)[]>> {
  const body = {
    devices: [...devices],
    metrics: [metric],
    agg: ['last'],
    from: 'now-1h',
    interval: '1m',
    fill: 'null' as const,
  };
  const { series = [] } = await answerOf(api.POST('/api/v1/series/query', { body, signal }));
  return new Map(series.map((one) => [one.deviceId!, one['last'] as (number | null)[]]));
}
