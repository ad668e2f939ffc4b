import { queues } from '@fleetwire/broker/topology';
import type { WorkerState } from '@fleetwire/contracts/worker-state';
import { messagesIn, type QueueSample } from './queue-sample.ts';

export const bottlenecks = ['none', 'postgres', 'consumers', 'broker'] as const;
type Bottleneck = (typeof bottlenecks)[number];

export interface Diagnosis {
  readonly verdict: Bottleneck;
  /** A sentence for people. */
  readonly why: string;
}

export interface Surroundings {
  readonly alarms: readonly string[];
  readonly database: 'unknown' | 'up' | 'down';
  readonly workers: readonly WorkerState[];
}

/** Queues that a worker consumes; the others let their messages rest. */
const consumed: readonly string[] = Object.values(queues);

/** Where the messages of one queue are stuck, if they are. */
export function bottleneckOf(queue: QueueSample, { alarms, database, workers }: Surroundings): Diagnosis {
  const messages = messagesIn(queue);
  const [alarm] = alarms;
  if (alarm !== undefined) return { verdict: 'broker', why: `The broker takes no messages: ${alarm}.` };
  if (!consumed.includes(queue.name))
    return { verdict: 'none', why: 'Messages rest here on purpose until their time is over.' };
  if (messages === 0) return { verdict: 'none', why: 'Nothing waits.' };
  if (queue.consumers === 0)
    return { verdict: 'consumers', why: `Nobody consumes it: ${count(messages)} wait for a persistence-worker.` };
  if (workers.some(({ holding }) => holding))
    return { verdict: 'postgres', why: `A worker holds ${count(messages)} because Postgres cannot write.` };
  if (database === 'down')
    return { verdict: 'postgres', why: `Postgres does not answer, and ${count(messages)} wait for it.` };
  const drain = timeToDrain(queue);
  if (drain.seconds !== null)
    return { verdict: 'none', why: `It shrinks, and is empty in ${Math.ceil(drain.seconds)} s.` };
  if (queue.ready === 0) return { verdict: 'none', why: 'All of it is in the hands of consumers.' };
  if (workers.length > 0 && workers.every(({ writersBusy, writersMax }) => writersBusy >= writersMax))
    return { verdict: 'postgres', why: `Every writer waits for Postgres, and it does not shrink: ${drain.reason}.` };
  return { verdict: 'consumers', why: `Postgres answers, but the consumers do not keep up: ${drain.reason}.` };
}

export interface Drain {
  /** Null where it does not shrink; the reason says why. */
  readonly seconds: number | null;
  readonly reason: string;
}

/** When the queue is empty if everything goes on as it does now. */
export function timeToDrain(queue: QueueSample): Drain {
  const messages = messagesIn(queue);
  if (messages === 0) return { seconds: 0, reason: 'it is empty' };
  const { inRate, outRate } = queue;
  const net = inRate !== null && outRate !== null ? inRate - outRate : queue.netRate;
  if (net === null) return { seconds: null, reason: 'its rates are not known yet' };
  if (net < 0) return { seconds: messages / -net, reason: `it shrinks by ${perSecond(-net)}` };
  if (net > 0) return { seconds: null, reason: `it grows by ${perSecond(net)}` };
  return { seconds: null, reason: outRate === 0 ? 'nothing leaves it' : 'it neither grows nor shrinks' };
}

function perSecond(rate: number): string {
  return `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} messages/s`;
}

function count(messages: number): string {
  return messages === 1 ? '1 message' : `${messages} messages`;
}
