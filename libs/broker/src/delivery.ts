import type { ConsumeMessage } from 'amqplib';
import type { Headers } from './retry-headers.ts';

/** One message as the broker delivered it. */
export interface Delivery {
  readonly content: Buffer;
  readonly headers: Headers;
  readonly messageId: string | undefined;
  readonly type: string | undefined;
  readonly contentType: string | undefined;
  readonly exchange: string;
  readonly routingKey: string;
  /** When it was published, to the second. */
  readonly timestampMs: number | undefined;
  /** A hint only: the broker may have delivered it before. */
  readonly redelivered: boolean;
  /**
   * Earlier deliveries that came back (`x-delivery-count`; RabbitMQ, "Quorum Queues", poison message handling); 0 when
   * it never did. Before RabbitMQ 4.3 every requeue counts, later only lost channels and rejections do.
   */
  readonly deliveryCount: number;
  /** Its channel is gone: the broker delivers it again, and this copy's verdict will be dropped. */
  readonly stale: boolean;
}

export function deliveryOf({ content, fields, properties }: ConsumeMessage, isStale: () => boolean): Delivery {
  const headers: Headers = properties.headers ?? {};
  const deliveryCount = headers['x-delivery-count'];
  return {
    content,
    headers,
    messageId: textOrUndefined(properties.messageId),
    type: textOrUndefined(properties.type),
    contentType: textOrUndefined(properties.contentType),
    exchange: fields.exchange,
    routingKey: fields.routingKey,
    timestampMs: typeof properties.timestamp === 'number' ? properties.timestamp * 1000 : undefined,
    redelivered: fields.redelivered,
    deliveryCount: typeof deliveryCount === 'number' ? deliveryCount : 0,
    get stale() {
      return isStale();
    },
  };
}

function textOrUndefined(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
