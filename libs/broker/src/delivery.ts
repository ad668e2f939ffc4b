import type { ConsumeMessage } from 'amqplib';
import type { Headers } from './retry-headers.ts';

/** One message as the broker delivered it. */
export interface Delivery {
  readonly content: Buffer;
  readonly headers: Headers;
  readonly messageId: string | undefined;
  readonly type: string | undefined;
  /** When it was published, to the second. */
  readonly timestampMs: number | undefined;
  /** A hint only: the broker may have delivered it before. */
  readonly redelivered: boolean;
  /**
   * Earlier deliveries that returned to the queue (`x-delivery-count`; RabbitMQ, "Quorum Queues", poison message handling); 0 at
   * the first delivery. Before RabbitMQ 4.3 every requeue counts, later only lost channels and rejections do.
   */
  readonly deliveryCount: number;
}

export function deliveryOf({ content, fields, properties }: ConsumeMessage): Delivery {
  const headers: Headers = properties.headers ?? {};
  const deliveryCount = headers['x-delivery-count'];
  return {
    content,
    headers,
    messageId: textOrUndefined(properties.messageId),
    type: textOrUndefined(properties.type),
    timestampMs: typeof properties.timestamp === 'number' ? properties.timestamp * 1000 : undefined,
    redelivered: fields.redelivered,
    deliveryCount: typeof deliveryCount === 'number' ? deliveryCount : 0,
  };
}

function textOrUndefined(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
