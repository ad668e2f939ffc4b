import { once } from 'node:events';
import type { ServerMessage } from '@fleetwire/contracts/device-protocol';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { eventually } from '@fleetwire/platform/testing/eventually';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import WebSocket from 'ws';
import { openTestDatabase } from './database.ts';
import { createPlatform, webSocketUrlOf } from './platform.ts';

const now = Date.now();

/** Readings as JSON text. A bad one has a name; what it refuses must be this reading and no other. */
const badReadings = {
  'a NUL': `{"ts":${now},"metrics":{"v":"a\\u0000b"}}`,
  'a NUL inside an object': `{"ts":${now},"metrics":{"v":{"w":["a\\u0000"]}}}`,
  'a NUL in a name': `{"ts":${now},"metrics":{"a\\u0000b":1}}`,
  'half a surrogate pair': `{"ts":${now},"metrics":{"v":"\\ud800"}}`,
  'half a surrogate pair in a name': `{"ts":${now},"metrics":{"\\udc00":1}}`,
  null: `{"ts":${now},"metrics":{"v":null}}`,
  'a list': `{"ts":${now},"metrics":{"v":[1]}}`,
  'no metrics': `{"ts":${now}}`,
  'a time of 1970': '{"ts":5,"metrics":{"v":1}}',
  'a text': '"21.5"',
};
const goodReadings = [
  `{"ts":${now},"metrics":{"v":1}}`,
  `{"ts":${now},"metrics":{"v":"\\u00e9\\ud83d\\ude00","on":true}}`,
  `{"ts":${now},"metrics":{"v":{"lat":52.5}}}`,
];
const reading = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...goodReadings).map((text) => ({ text, isGood: true })) },
  { weight: 1, arbitrary: fc.constantFrom(...Object.values(badReadings)).map((text) => ({ text, isGood: false })) },
);

/** Ways to send readings under numbers of the device's own stream; a frame that is not `readable` is refused whole. */
const shapes = {
  'a frame': (seq: number, list: string) => `{"type":"telemetry","seq":${seq},"readings":[${list}]}`,
  'an unknown type': (seq: number, list: string) => `{"type":"telemetri","seq":${seq},"readings":[${list}]}`,
  'no type': (seq: number, list: string) => `{"seq":${seq},"readings":[${list}]}`,
  'a frame that ends early': (seq: number, list: string) => `{"type":"telemetry","seq":${seq},"readings":[${list}]`,
  'a binary frame': (seq: number, list: string) =>
    Buffer.from(`{"type":"telemetry","seq":${seq},"readings":[${list}]}`),
  'a seq of text': (seq: number, list: string) => `{"type":"telemetry","seq":"${seq}","readings":[${list}]}`,
  'a seq with a fraction': (seq: number, list: string) => `{"type":"telemetry","seq":${seq}.5,"readings":[${list}]}`,
  'a list of frames': (seq: number, list: string) => `[{"type":"telemetry","seq":${seq},"readings":[${list}]}]`,
  'a device id that is a number': (seq: number, list: string) =>
    `{"type":"telemetry","deviceId":7,"seq":${seq},"readings":[${list}]}`,
  'readings that are an object': (seq: number, list: string) =>
    `{"type":"telemetry","seq":${seq},"readings":{"list":[${list}]}}`,
};
/** Ways to send readings under numbers of another stream, which this device may not or cannot publish. */
const foreignShapes = {
  'another device': 'other',
  'no valid device id': '/',
};

type Readings = { text: string; isGood: boolean }[];
type Frame =
  | { kind: 'own'; shape: keyof typeof shapes; readings: Readings }
  | { kind: 'foreign'; shape: keyof typeof foreignShapes; readings: Readings }
  | { kind: 'unnumbered'; readings: Readings }
  | { kind: 'too-many' };

const frame: fc.Arbitrary<Frame> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('own' as const),
      shape: fc.oneof(
        { weight: 3, arbitrary: fc.constant('a frame' as const) },
        { weight: 2, arbitrary: fc.constantFrom(...(Object.keys(shapes) as (keyof typeof shapes)[])) },
      ),
      readings: fc.array(reading, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('foreign' as const),
      shape: fc.constantFrom(...(Object.keys(foreignShapes) as (keyof typeof foreignShapes)[])),
      readings: fc.array(reading, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constant({ kind: 'too-many' as const }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('unnumbered' as const),
      readings: fc.array(reading, { minLength: 1, maxLength: 3 }),
    }),
  },
);

const readingsPerFrameMax = 1_000;

const elements = fc.array(fc.array(reading, { minLength: 1, maxLength: 3 }), { maxLength: 5 });

async function startServices() {
  const servers = { amqpUrl: await freshVhost(), databaseUrl: await freshDatabase() };
  const platform = await createPlatform(servers, {
    REPORT_INTERVAL_MS: '100',
    MALFORMED_FRAMES_IN_A_ROW_MAX: '10000',
    UNPRODUCTIVE_FRAMES_PER_SECOND_MAX: '100000',
  });
  await platform.startAll({ 'ingest-ws': 1, 'persistence-worker': 1, 'query-api': 1 });
  const database = openTestDatabase(servers.databaseUrl);
  const { services, keys } = platform;
  const operator = await keys.token('olga', 'operator');
  return {
    ingestUrl: services['ingest-ws'][0]!.url,
    webSocketUrl: webSocketUrlOf(services['ingest-ws'][0]!),
    token: keys.token,
    /** `epoch/seq` of every stored reading of the device; those that the server numbered are `auto`. */
    stored: async (deviceId: string): Promise<string[]> => {
      const { rows } = await database.pool.query<{ epoch: string; seq: string }>(
        'select epoch, seq from telemetry where device_id = $1',
        [deviceId],
      );
      return rows.map(({ epoch, seq }) => (epoch.startsWith('auto-') ? 'auto' : `${epoch}/${seq}`)).sort();
    },
    /** The device's line in the reconciliation report. */
    reconciled: async (deviceId: string): Promise<Record<string, number>> => {
      const response = await fetch(`${services['query-api'][0]!.url}/api/v1/ledger?from=now-30m&deviceId=${deviceId}`, {
        headers: { authorization: `Bearer ${operator}` },
      });
      if (!response.ok) throw new Error(`/ledger: ${response.status} ${await response.text()}`);
      return ((await response.json()) as { total: Record<string, number> }).total;
    },
  };
}

it('tells the device one outcome for every reading, over any mixture of good and bad readings and frames: stored if acked, refused and counted otherwise', async () => {
  const services = await startServices();
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 12 }), elements, async (frames, posted) => {
      runs += 1;
      const deviceId = `device-${runs}`;
      const authorization = `Bearer ${await services.token(deviceId, 'device')}`;
      const socket = new WebSocket(`${services.webSocketUrl}?epoch=boot`, 'fleetwire.v1.json', {
        headers: { authorization },
      });
      const messages: ServerMessage[] = [];
      socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString()) as ServerMessage));
      await once(socket, 'message');

      // What is sent, and what must become of it.
      const expected = { stored: [] as string[], refused: [] as string[], errors: 0, rejected: 0 };
      let next = 0;
      const nextForeign = { 'another device': 0, 'no valid device id': 0 };
      const closing: Frame = { kind: 'own', shape: 'a frame', readings: [{ text: goodReadings[0]!, isGood: true }] };
      for (const sent of [...frames, closing]) {
        const readings =
          sent.kind === 'too-many'
            ? Array.from({ length: readingsPerFrameMax + 1 }, () => ({ text: goodReadings[0]!, isGood: false }))
            : sent.readings;
        const list = readings.map(({ text }) => text).join();
        const bad = readings.filter(({ isGood }) => !isGood).length;
        if (sent.kind === 'own' || sent.kind === 'too-many') {
          const shape = sent.kind === 'own' ? sent.shape : 'a frame';
          socket.send(shapes[shape](next, list));
          const isTaken = sent.kind === 'own' && shape === 'a frame';
          for (const [index, { isGood }] of readings.entries())
            (isGood && isTaken ? expected.stored : expected.refused).push(`boot/${next + index}`);
          expected.rejected += isTaken ? bad : readings.length;
          next += readings.length;
        } else if (sent.kind === 'foreign') {
          const id = foreignShapes[sent.shape];
          const seq = nextForeign[sent.shape];
          socket.send(`{"type":"telemetry","deviceId":"${id}","seq":${seq},"readings":[${list}]}`);
          for (const index of readings.keys()) expected.refused.push(`${id}/${seq + index}`);
          nextForeign[sent.shape] += readings.length;
          expected.rejected += readings.length;
        } else {
          socket.send(`{"type":"telemetry","readings":[${list}]}`);
          for (let good = bad; good < readings.length; good += 1) expected.stored.push('auto');
          expected.errors += bad;
          expected.rejected += bad;
        }
      }

      // The rules of docs/device-protocol.md, as a device follows them.
      const told = { acked: new Set<string>(), refused: [] as string[] };
      const read = () => {
        for (const message of messages.splice(0)) {
          if (message.type === 'nack') {
            expect(message.retryable).toBe(false);
            const stream = message.deviceId ?? 'boot';
            for (let seq = message.seq; seq < message.seq + message.count; seq += 1)
              told.refused.push(`${stream}/${seq}`);
          }
          if (message.type === 'ack' && message.epoch === undefined)
            for (let seq = 0; seq <= message.upTo; seq += 1)
              if (!told.refused.includes(`boot/${seq}`)) told.acked.add(`boot/${seq}`);
        }
      };
      await eventually(() => {
        read();
        expect(told.acked).toContain(`boot/${next - 1}`);
      });
      const own = expected.stored.filter((id) => id !== 'auto');
      expect([...told.acked].sort()).toEqual([...own].sort());
      expect([...told.refused].sort()).toEqual([...expected.refused].sort());

      if (posted.length > 0) {
        const body = posted.map((readings, index) => {
          const list = readings.map(({ text }) => text).join();
          return `{"epoch":"http","seq":${index * 10},"readings":[${list}]}`;
        });
        const bad = posted.flat().filter(({ isGood }) => !isGood).length;
        const response = await fetch(`${services.ingestUrl}/api/v1/telemetry`, {
          method: 'POST',
          headers: { authorization, 'content-type': 'application/json' },
          body: `[${body.join()}]`,
        });
        const answer = (await response.json()) as { accepted: number; errors?: { field: string }[] };
        expect([response.status, answer.accepted]).toEqual([bad === 0 ? 202 : 422, posted.flat().length - bad]);
        const named = new Set((answer.errors ?? []).map(({ field }) => /^\[\d+\]\.readings\[\d+\]/.exec(field)?.[0]));
        expect(named).toEqual(
          new Set(
            posted.flatMap((readings, element) =>
              readings.flatMap(({ isGood }, index) => (isGood ? [] : [`[${element}].readings[${index}]`])),
            ),
          ),
        );
        for (const [element, readings] of posted.entries())
          for (const [index, { isGood }] of readings.entries())
            if (isGood) expected.stored.push(`http/${element * 10 + index}`);
        expected.rejected += bad;
      }

      await eventually(async () => expect(await services.stored(deviceId)).toEqual([...expected.stored].sort()));
      await eventually(
        async () =>
          expect(await services.reconciled(deviceId)).toMatchObject({
            received: expected.stored.length + expected.rejected,
            stored: expected.stored.length,
            rejected: expected.rejected,
            missing: 0,
            surplus: 0,
          }),
        { intervalMs: 100 },
      );
      socket.close();
    }),
    { numRuns: 40 },
  );
});
