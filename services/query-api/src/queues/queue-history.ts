import { updateAlarms } from '@fleetwire/store/alarms';
import { recordInstances } from '@fleetwire/store/instances';
import { insertQueueSamples, queueSampleMs } from '@fleetwire/store/queue-samples';
import type { Circuit, GuardedDatabase } from '../circuit.ts';
import type { Instances } from '../instances.ts';
import { alarmsIn } from './alarm-rules.ts';
import type { PresentAlarms } from './present-alarms.ts';
import type { QueueMonitor } from './queue-monitor.ts';

export interface QueueHistoryOptions {
  readonly queues: QueueMonitor;
  readonly instances: Pick<Instances, 'heard'>;
  readonly circuits: readonly Circuit[];
  /** Remembers since when there are alarms while they cannot be written. */
  readonly presentAlarms: PresentAlarms;
  readonly writing: GuardedDatabase;
  readonly now: () => number;
}

/**
 * Writes every 15 s how deep the queues are, which instances were heard, and which alarms begin and end. All query-apis try, at the same moments;
 * the first that writes a sample writes the alarms. While the database is away nothing is written: the history has a gap.
 */
export function startQueueHistory(options: QueueHistoryOptions): { stop(): void } {
  const { queues, instances, circuits, presentAlarms, writing, now } = options;
  let timer: NodeJS.Timeout | undefined;
  const sample = async (): Promise<void> => {
    const at = Math.floor(now() / queueSampleMs) * queueSampleMs;
    const report = await queues.read().catch(() => undefined);
    const alarms = alarmsIn({ queues: report, circuits });
    presentAlarms.see(alarms, now());
    const samples = (report?.queues ?? []).map(({ name, ready, unacked, readings, inRate, outRate, oldest }) => ({
      queue: name,
      ready,
      unacked,
      readings,
      inRate,
      outRate,
      oldestSeconds: oldest.seconds,
    }));
    const heard = instances.heard().map(({ heardAt, ...one }) => ({ ...one, seenAt: heardAt }));
    await writing.run(recordInstances, { instances: heard });
    const isFirst = samples.length === 0 || (await writing.run(insertQueueSamples, { at, samples }));
    if (isFirst) await writing.run(updateAlarms, { alarms });
  };
  let isStopped = false;
  const next = (): void => {
    if (isStopped) return;
    timer = setTimeout(() => void sampleOnce().finally(next), queueSampleMs - (now() % queueSampleMs));
  };
  const sampleOnce = (): Promise<void> => sample().catch(() => {});
  // The first at the start, so that a page has something to show.
  void sampleOnce().finally(next);
  return {
    stop: () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
