import { randomUUID } from 'node:crypto';
import type { Publication } from './publisher.ts';

/** A message that may be lost: it is not written to disk, and dropped where no queue takes it. */
export function transientJson(
  exchange: string,
  routingKey: string,
  message: { readonly type: string; readonly id?: string },
): Publication {
  return {
    exchange,
    routingKey,
    messageId: message.id ?? randomUUID(),
    type: message.type,
    contentType: 'application/json',
    content: Buffer.from(JSON.stringify(message)),
    isTransient: true,
  };
}
