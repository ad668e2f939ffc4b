import { createHash } from 'node:crypto';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { limits } from '@fleetwire/contracts/limits';
import { Metrics } from '@fleetwire/contracts/metrics';
import { type Observation, ObservationInput, parseObservation } from '@fleetwire/contracts/reading';
import { TelemetryAccepted } from '@fleetwire/contracts/telemetry-http';
import { within } from '@fleetwire/contracts/validation-issue';
import { notImplemented, unprocessable } from '@fleetwire/runtime/problem';
import { idempotencyKeyDays, numbersFor } from '@fleetwire/store/registry/producers';
import Type from 'typebox';
import type { Caller } from '../caller.ts';
import { type ApiContext, route } from '../route.ts';
import { bodyProblem } from '../router.ts';

const epochCharactersMax = limits.epochCharactersMax;

const idempotencyKey = {
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 200,
      description: `With it you may send the same readings again after any failure: they are stored once. Kept for ${idempotencyKeyDays} days`,
      examples: ['import-2026-11-21-0001'],
    }),
  ),
};

const common = {
  tag: 'Devices',
  roles: ['device', 'admin'],
  params: { id: DeviceId },
  headers: idempotencyKey,
  success: {
    status: 202,
    description: 'The broker has confirmed the readings; `streams` says under which identity they are stored',
    schema: TelemetryAccepted,
  },
  problems: [422, 501],
} as const;

const stated =
  'All readings are accepted or none. They take the same way as those of a socket, in an epoch of their own (`api-<subject of the token>`), and are stored after the answer. ' +
  'Stored readings are never changed.';

const LatestValues = Type.Object(
  {
    ts: Type.Optional(
      Type.Union([Type.Number(), Type.String()], {
        description:
          'Device time: epoch milliseconds, or RFC 3339 with an offset; the time of the call if left out, and of the first call with its Idempotency-Key',
      }),
    ),
    metrics: Metrics,
  },
  {
    title: 'AddedReading',
    additionalProperties: false,
    examples: [{ metrics: { temperature: 21.5 } }, { ts: '2026-11-21T16:00:00Z', metrics: { state: 'on' } }],
  },
);

export const producerRoutes = [
  route({
    ...common,
    method: 'patch',
    path: '/devices/{id}/data',
    operationId: 'addReading',
    summary: 'Add a reading of a device: its latest values',
    description: stated,
    body: LatestValues,
    handler: async ({ params: { id }, headers, body, caller, now }, api) =>
      add(api, { id, key: headers['idempotency-key'], caller, readings: [body], isList: false, now }),
  }),
  route({
    ...common,
    method: 'post',
    path: '/devices/{id}/history',
    operationId: 'addReadings',
    summary: 'Add readings of a device',
    description: `At most ${limits.readingsPerFrameMax} in ${limits.payloadBytesMax} bytes, each with its time. ${stated}`,
    body: Type.Array(ObservationInput, {
      minItems: 1,
      maxItems: limits.readingsPerFrameMax,
      examples: [[{ ts: 1_795_276_800_000, metrics: { temperature: 21.5 } }]],
    }),
    handler: async ({ params: { id }, headers, body, caller, now }, api) =>
      add(api, { id, key: headers['idempotency-key'], caller, readings: body, isList: true, now }),
  }),
];

interface Addition {
  readonly id: string;
  readonly key: string | undefined;
  readonly caller: Caller;
  readonly readings: readonly unknown[];
  readonly isList: boolean;
  readonly now: number;
}

async function add({ ingest, registryChanges }: ApiContext, addition: Addition) {
  const { id, key, caller, readings, isList, now } = addition;
  if (ingest === undefined)
    throw notImplemented(
      'query-api does not know where ingest-ws is (INGEST_URL); send the readings there: POST /telemetry',
    );
  const observations = readings.map((reading, index) => observationOf(reading, index, { isList, now }));
  const numbers = await registryChanges.run(numbersFor, {
    deviceId: id,
    client: caller.sub,
    key,
    digest: createHash('sha256').update(JSON.stringify(readings)).digest('base64url'),
    readings: observations.length,
  });
  if (numbers === undefined)
    throw unprocessable('This Idempotency-Key was used for other readings; use a new key for new readings', [
      { field: 'header.idempotency-key', detail: 'was used for other readings' },
    ]);
  const { firstSeq, calledAt } = numbers;
  const epoch = epochOf(caller.sub);
  // With the time of this call a reading without its own time would change its content whenever it is sent again.
  const timed = (ts: number, index: number) =>
    (readings[index] as { readonly ts?: unknown }).ts === undefined ? calledAt : ts;
  const numbered = observations.map(({ ts, metrics }, index) => ({
    seq: firstSeq + index,
    ts: timed(ts, index),
    metrics,
  }));
  await ingest.send({ deviceId: id, epoch, readings: numbered }, caller.authorization);
  const lastSeq = firstSeq + numbered.length - 1;
  return { accepted: numbered.length, streams: [{ deviceId: id, epoch, firstSeq, lastSeq }] };
}

/** @throws {Problem} 422 naming the reading and its field */
function observationOf(
  reading: unknown,
  index: number,
  { isList, now }: { readonly isList: boolean; readonly now: number },
): Observation {
  const parsed = parseObservation(reading, now, isList);
  if (parsed.ok) return parsed.value;
  const problem = bodyProblem(isList ? within(`[${index}]`, parsed.issue) : parsed.issue);
  throw unprocessable('Nothing was accepted: a reading is not valid', [
    { ...problem, field: problem.field.replace('body.[', 'body[') },
  ]);
}

function epochOf(client: string): string {
  const epoch = `api-${client}`;
  return epoch.length <= epochCharactersMax ? epoch : `api-${createHash('sha256').update(client).digest('base64url')}`;
}
