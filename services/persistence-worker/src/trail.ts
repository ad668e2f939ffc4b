import type { Delivery } from '@fleetwire/broker/delivery';
import type { Headers } from '@fleetwire/broker/retry-headers';
import { correlationHeader } from '@fleetwire/contracts/event';
import {
  type BegunSpan,
  type Context,
  type Tracer,
  beginSpan,
  contextOf,
  traceIdOf,
} from '@fleetwire/runtime/trace-context';

/** What every line of the log about a message carries, so that they can be joined with those of the edge. */
export interface Trail {
  readonly correlationId: string | undefined;
  readonly traceId: string | undefined;
}

/** @param messageId stands in where the headers name no envelope */
export function trailOf(headers: Headers, messageId?: string): Trail {
  return { correlationId: correlationIdOf(headers, messageId), traceId: traceIdOf(contextOf(headers)) };
}

function correlationIdOf(headers: Headers, messageId: string | undefined): string | undefined {
  const correlationId = headers[correlationHeader];
  return typeof correlationId === 'string' ? correlationId : messageId;
}

/** The headers that make a dead letter's message part of the same trail. */
export function onwardHeaders(headers: Headers = {}): Record<string, unknown> {
  const names = [correlationHeader, 'traceparent', 'tracestate'];
  return Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])));
}

/** From a message's delivery to its verdict. */
export function beginProcessing(tracer: Tracer, { headers, messageId, deliveryCount }: Delivery): BegunSpan {
  const from = contextOf(headers);
  return beginSpan(tracer, 'telemetry process', {
    kind: 'CONSUMER',
    from: from === undefined ? [] : [from],
    attributes: {
      'messaging.system': 'rabbitmq',
      'messaging.operation.type': 'process',
      'messaging.operation.name': 'process',
      'messaging.destination.name': 'telemetry.persist',
      'messaging.message.id': messageId,
      'messaging.message.conversation_id': correlationIdOf(headers, messageId),
      'fleetwire.deliveries': deliveryCount + 1,
    },
  });
}

/** The transaction of one or many messages, with its retries. */
export function beginStoring(
  tracer: Tracer,
  batch: readonly { readonly headers: Headers }[],
  attributes: { readonly batchId: string; readonly readings: number },
): BegunSpan {
  const from = batch
    .map(({ headers }) => contextOf(headers))
    .filter((context): context is Context => context !== undefined);
  return beginSpan(tracer, 'telemetry store', {
    kind: 'CLIENT',
    from,
    attributes: {
      'db.system.name': 'postgresql',
      'fleetwire.batch.id': attributes.batchId,
      'fleetwire.envelopes': batch.length,
      'fleetwire.readings': attributes.readings,
    },
  });
}
