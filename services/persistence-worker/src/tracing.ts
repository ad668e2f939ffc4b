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

/** Fields of every log line about a message, so that it can be joined with the lines of the edge. */
interface Correlation {
  readonly correlationId: string | undefined;
  readonly traceId: string | undefined;
}

/** @param messageId used when the headers name no envelope */
export function correlationOf(headers: Headers, messageId?: string): Correlation {
  return { correlationId: correlationIdOf(headers, messageId), traceId: traceIdOf(contextOf(headers)) };
}

function correlationIdOf(headers: Headers, messageId: string | undefined): string | undefined {
  const correlationId = headers[correlationHeader];
  return typeof correlationId === 'string' ? correlationId : messageId;
}

/** The correlation id and the trace of a message, for the message of its dead letter. */
export function correlationAndTraceHeaders(headers: Headers = {}): Record<string, unknown> {
  const names = [correlationHeader, 'traceparent', 'tracestate'];
  return Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])));
}

/** The span from the delivery of a message to its settlement. */
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

/** The span of a transaction with the readings of one or more messages, retries included. */
export function beginStoring(
  tracer: Tracer,
  deliveries: readonly Delivery[],
  attributes: { readonly batchId: string; readonly readings: number },
): BegunSpan {
  const from = deliveries
    .map(({ headers }) => contextOf(headers))
    .filter((context): context is Context => context !== undefined);
  return beginSpan(tracer, 'telemetry store', {
    kind: 'CLIENT',
    from,
    attributes: {
      'db.system.name': 'postgresql',
      'fleetwire.batch.id': attributes.batchId,
      'fleetwire.envelopes': deliveries.length,
      'fleetwire.readings': attributes.readings,
    },
  });
}
