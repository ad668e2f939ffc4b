import type { EnvelopeRun } from '@fleetwire/contracts/envelope';
import { correlationHeader } from '@fleetwire/contracts/event';
import { type BegunSpan, type Context, type Tracer, beginSpan } from '@fleetwire/runtime/trace-context';

/** The socket or the request that readings came on; log lines about the readings name it. */
export type Source = { readonly sessionId: string } | { readonly requestId: string };

/** Readings as they arrived, with their source and trace. */
export interface Arrival {
  readonly runs: readonly EnvelopeRun[];
  readonly source: Source;
  /** The trace that the sender named. */
  readonly traceContext?: Context | undefined;
}

/** A span from the arrival of readings to their outcome; none for readings without a trace, which are most. */
export function beginReception(tracer: Tracer, { runs, source, traceContext }: Arrival): BegunSpan | undefined {
  if (traceContext === undefined) return undefined;
  return beginSpan(tracer, 'telemetry receive', {
    kind: 'sessionId' in source ? 'SERVER' : 'INTERNAL',
    from: [traceContext],
    attributes: {
      ...('sessionId' in source
        ? { 'fleetwire.session.id': source.sessionId }
        : { 'fleetwire.request.id': source.requestId }),
      'fleetwire.streams': runs.map((run) => describeStream(streamOf(run))),
    },
  });
}

/** A span from the encoding of an envelope to its confirm, linked with the spans of the readings in it. */
export function beginPublication(
  tracer: Tracer,
  id: string,
  batch: readonly { readonly readingCount: number; readonly reception?: BegunSpan | undefined }[],
): BegunSpan {
  const from: Context[] = [];
  for (const { reception } of batch) {
    if (reception === undefined) continue;
    reception.set({ 'messaging.message.id': id });
    from.push(reception.context);
  }
  return beginSpan(tracer, 'telemetry publish', {
    kind: 'PRODUCER',
    from,
    attributes: {
      'messaging.system': 'rabbitmq',
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'publish',
      'messaging.destination.name': 'telemetry',
      'messaging.message.id': id,
      'messaging.message.conversation_id': id,
      'fleetwire.readings': batch.reduce((sum, { readingCount }) => sum + readingCount, 0),
    },
  });
}

/** AMQP headers by which the consumers of an envelope go on with its correlation id and its trace. */
export function correlationHeaders(id: string, { headers }: BegunSpan): Record<string, string> {
  return { [correlationHeader]: id, ...headers };
}

/** Log fields that every line about an envelope carries. */
export function correlationOf(
  id: string,
  { traceId }: BegunSpan,
): {
  correlationId: string;
  traceId: string | undefined;
} {
  return { correlationId: id, traceId };
}

/** Log field that joins an envelope with its readings and their sources. */
export function contentsOf(batch: readonly Arrival[]): object[] {
  return batch.flatMap(({ runs, source }) => runs.map((run) => ({ ...streamOf(run), ...source })));
}

interface StreamPart {
  deviceId: string;
  epoch: string;
  firstSeq: number | undefined;
  lastSeq: number | undefined;
}

function streamOf({ deviceId, epoch, readings }: EnvelopeRun): StreamPart {
  return { deviceId, epoch, firstSeq: readings[0]?.seq, lastSeq: readings.at(-1)?.seq };
}

function describeStream({ deviceId, epoch, firstSeq, lastSeq }: StreamPart): string {
  return `${deviceId}/${epoch}/${firstSeq}-${lastSeq}`;
}
