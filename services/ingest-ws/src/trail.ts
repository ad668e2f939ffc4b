import type { EnvelopeRun } from '@fleetwire/contracts/envelope';
import { correlationHeader } from '@fleetwire/contracts/event';
import { type BegunSpan, type Context, type Tracer, beginSpan } from '@fleetwire/runtime/trace-context';

/** Whose readings these are: a line of the log leads from them to the socket or request they came on. */
export type Source = { readonly sessionId: string } | { readonly requestId: string };

/** What is known of readings on their way, beside the readings. */
export interface Arrival {
  readonly runs: readonly EnvelopeRun[];
  readonly source: Source;
  /** The trace they came with. */
  readonly from?: Context | undefined;
}

/** From the arrival of readings to their ack. Most come without a trace: they get no span. */
export function beginReception(tracer: Tracer, { runs, source, from }: Arrival): BegunSpan | undefined {
  if (from === undefined) return undefined;
  return beginSpan(tracer, 'telemetry receive', {
    kind: 'sessionId' in source ? 'SERVER' : 'INTERNAL',
    from: [from],
    attributes: {
      ...('sessionId' in source
        ? { 'fleetwire.session.id': source.sessionId }
        : { 'fleetwire.request.id': source.requestId }),
      'fleetwire.streams': runs.map((run) => describeStream(streamOf(run))),
    },
  });
}

/** From the making of an envelope to its confirm. */
export function beginPublication(
  tracer: Tracer,
  id: string,
  batch: readonly { readonly readings: number; readonly reception?: BegunSpan | undefined }[],
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
      'fleetwire.readings': batch.reduce((sum, { readings }) => sum + readings, 0),
    },
  });
}

/** What an envelope carries for whoever works on with it. */
export function trailHeaders(id: string, { headers }: BegunSpan): Record<string, string> {
  return { [correlationHeader]: id, ...headers };
}

/** For the line of the log that joins readings with their envelope. */
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
