import { setTimeout as sleep } from 'node:timers/promises';
import { answerOf } from '@fleetwire/client/client';
import type { components } from '@fleetwire/client/openapi';
import { parseDuration } from '@fleetwire/contracts/timestamp';
import { Command, InvalidArgumentError } from 'commander';
import { type Connection, createApi, withConnection } from './api.ts';
import { action, print, table } from './output.ts';

interface Settings extends Connection {
  readonly watch?: number | true;
}

type Queues = components['schemas']['Queues'];

const watchDefaultMs = 2_000;
const clearScreen = '\u001B[H\u001B[2J\u001B[3J';

export function queuesCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('queues').description('show the depth, rates, age and bottleneck of each queue'),
  ).option('--watch [time]', 'repeat until Ctrl-C at this interval, such as 5s (default: 2s)', interval);

  return action(command, async (settings: Settings) => {
    const { watch, json } = settings;
    const api = createApi(settings, signal);
    const intervalMs = watch === true ? watchDefaultMs : watch;
    for (;;) {
      const queues = await answerOf(api.GET('/api/v1/queues'));
      const isScreen = intervalMs !== undefined && !json && process.stdout.isTTY;
      print(queues, `${isScreen ? clearScreen : ''}${queuesText(queues)}`, json);
      if (intervalMs === undefined) return;
      await sleep(intervalMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
    }
  });
}

function queuesText({ asOf, source, alarms, workers, data }: Queues): string {
  const rows = data.map(({ name, ready, unacked, readingsEstimate, consumers, rates, oldest, drain, bottleneck }) => [
    name,
    ready,
    unacked,
    readingsEstimate === null ? null : `${readingsEstimate > 0 ? '~' : ''}${readingsEstimate}`,
    consumers,
    rates.in === null ? null : rates.in.toFixed(1),
    rates.out === null ? null : rates.out.toFixed(1),
    oldest.ageSeconds === null
      ? null
      : `${oldest.atLeast ? '≥ ' : oldest.atMost ? '≤ ' : ''}${timeText(oldest.ageSeconds)}`,
    drain.seconds === null ? null : timeText(drain.seconds),
    `${bottleneck.verdict}: ${bottleneck.why}`,
  ]);
  return [
    `${asOf}, source ${source}; workers: ${workers.answering} answering, ${workers.holding} waiting for Postgres`,
    ...alarms.map((alarm) => `alarm: ${alarm}`),
    table(
      ['QUEUE', 'READY', 'UNACKED', 'READINGS', 'CONSUMERS', 'IN/S', 'OUT/S', 'OLDEST', 'DRAINED IN', 'BOTTLENECK'],
      rows,
    ),
  ].join('\n');
}

function timeText(seconds: number): string {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return seconds < 6_000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

/** @returns milliseconds */
function interval(text: string): number {
  const milliseconds = parseDuration(text) ?? 0;
  if (milliseconds >= 500) return milliseconds;
  throw new InvalidArgumentError('It must be a time from 500ms, such as 5s.');
}
