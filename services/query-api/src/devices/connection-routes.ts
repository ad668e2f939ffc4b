import { DeviceId, Epoch } from '@fleetwire/contracts/identifiers';
import { connectionsOfDevice } from '@fleetwire/store/presence/read-presence';
import { getDevice } from '@fleetwire/store/registry/devices';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { route } from '../route.ts';
import { PageOf, Time, toPage } from '../schemas.ts';
import { Instant, isoTime, parseRange, searchedRange } from '../time-range.ts';
import { unknownDevice } from './read-routes.ts';

/** The cursor holds the range: `now-6h` means the same on every page. */
const cursors = cursorCodec(
  Type.Object({
    from: positionFields.instant,
    to: positionFields.instant,
    startedAt: positionFields.instant,
    sessionId: Type.String({ maxLength: 64 }),
  }),
);

const orNull = <T extends Type.TSchema>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { description });

const Connection = Type.Object(
  {
    sessionId: Type.String({ description: '`sessionId` of the hello message' }),
    edge: Type.String({ description: 'The process of ingest-ws that had the socket' }),
    epoch: Epoch,
    startedAt: Time,
    endedAt: orNull(Time, 'null while it is open'),
    reason: orNull(
      Type.String(),
      'Why it ended: closed-by-device, closed-by-server, network, replaced, token-expired, revoked, instance-stopped, edge-lost; null while it is open',
    ),
  },
  { title: 'Connection' },
);

export const connectionRoutes = [
  route({
    method: 'get',
    path: '/devices/{id}/connections',
    operationId: 'listConnections',
    tag: 'Devices',
    summary: 'Connections of one device, newest first',
    description:
      'Sockets that the device had open at some time of the range, with the reason for their end. Times are those of the instance that had the socket. ' +
      'Kept for CONNECTIONS_RETENTION_DAYS after their end.',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    query: {
      from: Type.Optional(Instant('Start of the range, included')),
      to: Type.Optional(Instant('End of the range, excluded')),
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'Connections in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of connections', schema: PageOf(Connection, searchedRange, {}) },
    problems: [404],
    handler: async ({ params: { id }, query, now, pageBytes }, { registry }) => {
      const { limit, cursor } = query;
      const scope = { list: 'connections', id, ...query };
      const after = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      const { from, to } = after ?? parseRange(query, now);
      const found = await registry.run(connectionsOfDevice, {
        deviceId: id,
        from,
        to,
        after,
        limit: limit + 1,
        ...pageBytes,
      });
      if (found.length === 0 && (await registry.run(getDevice, { deviceId: id })) === undefined)
        throw unknownDevice(id);
      const { rows, covered, page } = toPage(
        found,
        { limit, bytesMax: pageBytes.bytesMax },
        ({ startedAt, sessionId }) => cursors.encode(scope, { from, to, startedAt, sessionId }),
      );
      return {
        data: rows.map(({ sessionId, edge, epoch, startedAt, endedAt, reason }) => ({
          sessionId,
          edge,
          epoch,
          startedAt: isoTime(startedAt),
          endedAt: endedAt === null ? null : isoTime(endedAt),
          reason,
        })),
        covers: { from: isoTime(from), to: isoTime(to), ...covered },
        page,
      };
    },
  }),
];
