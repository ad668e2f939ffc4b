import { queues } from '@fleetwire/broker/topology';
import type { WorkerState } from '@fleetwire/contracts/worker-state';
import { messagesIn, type QueueSample } from './queue-sample.ts';

export const bottlenecks = ['none', 'postgres', 'consumers', 'broker'] as const;
type Bottleneck = (typeof bottlenecks)[number];

export interface Diagnosis {
  readonly verdict: Bottleneck;
  /** One sentence for the operator. */
  readonly why: string;
}

export interface Surroundings {
  readonly alarms: readonly string[];
  readonly database: 'unknown' | 'up' | 'down';
  readonly workers: readonly WorkerState[];
}

/** Queues that a worker consumes; in the others messages wait for their TTL or for an operator. */
const consumed: readonly string[] = Object.values(queues);

/** What keeps the messages of one queue from being processed, if anything does. */
export function bottleneckOf(queue: QueueSample, { alarms, database, workers }: Surroundings): Diagnosis {
  const messages = messagesIn(queue);
  const [alarm] = alarms;
  if (alarm !== undefined) return { verdict: 'broker', why: `The broker blocks publishers: ${alarm}.` };
  if (!consumed.includes(queue.name)) return { verdict: 'none', why: 'Delay queue: messages wait for their TTL.' };
  if (messages === 0) return { verdict: 'none', why: 'The queue is empty.' };
  if (queue.consumers === 0)
    return { verdict: 'consumers', why: `No consumers: ${count(messages)} queued for a persistence-worker.` };
  if (workers.some(({ holding }) => holding))
    return { verdict: 'postgres', why: `Postgres cannot write: a worker pauses with ${count(messages)} in the queue.` };
  if (database === 'down')
    return { verdict: 'postgres', why: `Postgres does not answer: ${count(messages)} in the queue.` };
  const drain = timeToDrain(queue);
  if (drain.seconds !== null)
    return { verdict: 'none', why: `The queue shrinks and is empty in about ${Math.ceil(drain.seconds)} s.` };
  if (queue.ready === 0) return { verdict: 'none', why: 'All messages are delivered and unacknowledged.' };
  if (workers.length > 0 && workers.every(({ writersBusy, writersMax }) => writersBusy >= writersMax))
    return {
      verdict: 'postgres',
      why: `Postgres is the limit: every transaction slot is in use, and the queue does not shrink (${drain.reason}).`,
    };
  return { verdict: 'consumers', why: `Postgres answers, but the consumers do not keep up (${drain.reason}).` };
}

export interface Drain {
  /** Null while the queue does not shrink; the reason says why. */
  readonly seconds: number | null;
  readonly reason: string;
}

/** When the queue is empty at the present rates. */
export function timeToDrain(queue: QueueSample): Drain {
  const messages = messagesIn(queue);
  if (messages === 0) return { seconds: 0, reason: 'the queue is empty' };
  const { inRate, outRate } = queue;
  const net = inRate !== null && outRate !== null ? inRate - outRate : queue.netRate;
  if (net === null) return { seconds: null, reason: 'rates are not known yet' };
  if (net < 0) return { seconds: messages / -net, reason: `shrinks by ${perSecond(-net)}` };
  if (net > 0) return { seconds: null, reason: `grows by ${perSecond(net)}` };
  return { seconds: null, reason: outRate === 0 ? 'no message leaves the queue' : 'neither grows nor shrinks' };
}

function perSecond(rate: number): string {
  return `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} messages/s`;
}

function count(messages: number): string {
  return messages === 1 ? '1 message' : `${messages} messages`;
}
