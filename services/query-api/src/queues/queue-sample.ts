/** One queue at one moment. What the source does not know is null. */
export interface QueueSample {
  readonly name: string;
  readonly ready: number;
  readonly unacked: number | null;
  readonly consumers: number;
  /** Messages per second. */
  readonly inRate: number | null;
  readonly outRate: number | null;
  /** Of ready and unacked together; negative while the queue shrinks. */
  readonly netRate: number | null;
  readonly bytes: number | null;
  readonly messagesMax: number | null;
  readonly bytesMax: number | null;
}

export interface BrokerSample {
  readonly source: 'management' | 'amqp';
  /** Epoch milliseconds. */
  readonly at: number;
  readonly queues: readonly QueueSample[];
  /** Alarms of the broker's nodes; each blocks every publisher. */
  readonly alarms: readonly string[];
}

export interface QueueSource {
  /** Rejects when the broker does not answer. */
  sample(signal: AbortSignal): Promise<BrokerSample>;
}

export function messagesIn({ ready, unacked }: QueueSample): number {
  return ready + (unacked ?? 0);
}
