import { TelemetryFrame } from '@fleetwire/contracts/device-protocol';
import fc from 'fast-check';
import { type JsonSchema, valuesOf } from './from-schema.ts';
import { FreshSeq, type JsonTree, jsonText } from './json-tree.ts';
import { damage } from './nasty.ts';

/** A body or frame; readings with a fresh seq are numbered from `firstFreeSeq` on. */
export type Message = (firstFreeSeq: number) => Buffer;

/** In one month, so that a run makes few partitions; fixed, so that a seed makes the same inputs on every day. */
const from = Date.UTC(2026, 0, 1);
const spanMs = 28 * 24 * 60 * 60 * 1_000;
const times = fc.nat(spanMs).map((ms) => from + ms);

function hintsFor(devices: readonly string[]): Record<string, fc.Arbitrary<JsonTree>> {
  const device = fc.constantFrom(...devices);
  return {
    type: fc.constantFrom('telemetry', 'telemetry', 'telemetry', 'ping'),
    deviceId: device,
    device_id: device,
    epoch: fc.constantFrom('boot-1', 'boot-2'),
    seq: fc.nat(1_000).map((offset) => new FreshSeq(offset)),
    ts: fc.oneof(
      times,
      times.map((ms) => new Date(ms).toISOString()),
    ),
    traceparent: fc.constantFrom('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '00-0-0-0'),
  };
}

const frame = TelemetryFrame as unknown as JsonSchema;

/** The usual forms, with all that a valid reading needs: without these almost every input would be refused early. */
function usual(names: readonly string[], required: readonly string[]): JsonSchema {
  const properties = Object.fromEntries(names.map((name) => [name, frame.properties![name]!]));
  const { readings } = properties;
  if (readings?.items)
    properties['readings'] = { ...readings, items: { ...readings.items, required: ['ts', 'metrics'] } };
  return { type: 'object', properties, required };
}

/** @param addressed every message names its stream, as a gateway's and HTTP's must */
function telemetry(devices: readonly string[], addressed: readonly string[]): fc.Arbitrary<JsonTree> {
  const context = {
    resolve: (reference: string): JsonSchema => {
      throw new Error(`the protocol's schemas have no ${reference}`);
    },
    hints: hintsFor(devices),
  };
  const base = ['type', ...addressed, 'seq'];
  return fc.oneof(
    { weight: 3, arbitrary: valuesOf(usual([...base, 'ts', 'metrics'], [...base, 'ts', 'metrics']), context) },
    { weight: 3, arbitrary: valuesOf(usual([...base, 'readings'], [...base, 'readings']), context) },
    { weight: 1, arbitrary: valuesOf(usual(['type', 'value'], ['type', 'value']), context) },
    { weight: 2, arbitrary: valuesOf(frame, context) },
  );
}

function encoded(trees: fc.Arbitrary<JsonTree>): fc.Arbitrary<Message> {
  return fc.tuple(trees, damage).map(
    ([tree, damaged]) =>
      (firstFreeSeq) =>
        damaged(Buffer.from(jsonText(tree, firstFreeSeq))),
  );
}

/** Text frames of the device protocol. */
export function frames(devices: readonly string[], isGateway: boolean): fc.Arbitrary<Message> {
  const ping = fc.constant((): Buffer => Buffer.from('{"type":"ping"}'));
  return fc.oneof(
    { weight: 12, arbitrary: encoded(telemetry(devices, isGateway ? ['deviceId', 'epoch'] : [])) },
    { weight: 1, arbitrary: ping },
  );
}

/** Bodies of `POST /api/v1/telemetry`: one element, or an array of elements. */
export function telemetryBodies(devices: readonly string[]): fc.Arbitrary<Message> {
  const element = telemetry(devices, ['deviceId', 'epoch']);
  return encoded(
    fc.oneof({ weight: 2, arbitrary: element }, { weight: 1, arbitrary: fc.array(element, { maxLength: 4 }) }),
  );
}
