import { DeviceId } from '@fleetwire/contracts/identifiers';
import { Problem, unavailable } from '@fleetwire/runtime/problem';
import { beginningOfCommits, ReadReplicaError } from '@fleetwire/store/commit-order';
import { getDevice } from '@fleetwire/store/registry/devices';
import { deviceEventsAfter, eventsOfDevice } from '@fleetwire/store/registry/events';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { route } from '../route.ts';
import { PageOf, toPage } from '../schemas.ts';
import { unknownDevice } from './read-routes.ts';
import { DeviceEvent, presentEvent } from './schemas.ts';

const versions = cursorCodec(Type.Object({ version: positionFields.key }));

const Snapshot = Type.String({ pattern: '^\\d{1,20}:\\d{1,20}:(\\d{1,20}(,\\d{1,20})*)?$' });
const commits = cursorCodec(
  Type.Object({
    store: Type.String({ maxLength: 64 }),
    done: Snapshot,
    pass: Type.Optional(
      Type.Object({ snapshot: Snapshot, xid: Type.String({ pattern: '^\\d{1,20}$' }), key: positionFields.number }),
    ),
  }),
);

const Limit = Type.Integer({ minimum: 1, maximum: 500, default: 100, description: 'Events in one page' });

export const eventRoutes = [
  route({
    method: 'get',
    path: '/devices/{id}/events',
    operationId: 'getDeviceEvents',
    tag: 'Devices',
    summary: 'Every change of one device, newest first',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    query: { limit: Limit, cursor: Type.Optional(Cursor) },
    success: { status: 200, description: 'One page of events', schema: PageOf(DeviceEvent, {}, {}) },
    problems: [404],
    handler: async ({ params: { id }, query: { limit, cursor }, pageBytes }, { registry }) => {
      const scope = { list: 'device-events', id };
      const before = cursor === undefined ? undefined : versions.decode(scope, cursor).version;
      const found = await registry.run(eventsOfDevice, { deviceId: id, limit: limit + 1, before, ...pageBytes });
      if (found.length === 0 && (await registry.run(getDevice, { deviceId: id })) === undefined)
        throw unknownDevice(id);
      const { rows, covered, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, ({ version }) =>
        versions.encode(scope, { version }),
      );
      return { data: rows.map(presentEvent), covers: covered, page };
    },
  }),
  route({
    method: 'get',
    path: '/device-events',
    operationId: 'listDeviceEvents',
    tag: 'Devices',
    summary: 'Changes of all devices, oldest first, each once: what is new since your last fetch',
    description:
      'In the order in which they were committed, so that no event is skipped however many clients write at the same time. `page.next` is never null: ' +
      'keep it, and use it to fetch what came since. `covers.complete: true` means that nothing more was committed when this page was read. ' +
      '410 after the database was restored or failed over: begin again without a cursor, and drop the events that you have by (deviceId, version).',
    roles: ['analyst', 'operator', 'admin'],
    query: {
      start: Type.Enum(['beginning', 'now'], {
        default: 'beginning',
        description: 'Where to begin without a cursor: `now` returns no events, and a cursor for those that come',
      }),
      limit: Limit,
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of events', schema: PageOf(DeviceEvent, {}, {}) },
    problems: [410],
    handler: async ({ query: { start, limit, cursor }, pageBytes }, { registry }) => {
      const scope = { list: 'all-device-events' };
      const known = cursor === undefined ? undefined : commits.decode(scope, cursor);
      const position = known ?? beginningOfCommits;
      const read = await registry
        .run(deviceEventsAfter, { position, limit: known === undefined && start === 'now' ? 0 : limit })
        .catch((error: unknown) => {
          if (!(error instanceof ReadReplicaError)) throw error;
          throw unavailable('This instance reads a standby; ask one that reads the primary', 10_000);
        });
      if (known !== undefined && known.store !== read.store)
        throw new Problem(410, 'Cursor expired', {
          detail: 'The database was restored or failed over since this cursor was made; begin again without a cursor',
          extensions: { reason: 'store-replaced', restart: '/api/v1/device-events' },
        });
      const data = read.events.map(presentEvent);
      pageBytes.onBytes(Buffer.byteLength(JSON.stringify(data)));
      const next = commits.encode(scope, { store: read.store, ...read.position });
      return { data, covers: { count: data.length, complete: read.complete }, page: { next } };
    },
  }),
];
