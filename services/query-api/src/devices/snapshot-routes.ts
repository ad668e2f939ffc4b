import { signDocument } from '@fleetwire/auth/signed-document';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { type RegistrySnapshotPage, registrySnapshotType } from '@fleetwire/contracts/registry-snapshot';
import { notImplemented } from '@fleetwire/runtime/problem';
import { listDevices } from '@fleetwire/store/registry/devices';
import Type from 'typebox';
import { Cursor, cursorCodec } from '../cursor.ts';
import { route } from '../route.ts';
import { toPage } from '../schemas.ts';

const cursors = cursorCodec(Type.Object({ deviceId: DeviceId }));

const Snapshot = Type.Object(
  {
    document: Type.String({
      description: `JWS (compact) of the type ${registrySnapshotType}: {asOf, after, isLast, devices: [[id, version, status, type, tags] …]}`,
    }),
    page: Type.Object({ next: Type.Union([Type.String(), Type.Null()], { description: '`cursor` of the next page' }) }),
  },
  { title: 'RegistrySnapshot' },
);

export const snapshotRoutes = [
  route({
    method: 'get',
    path: '/registry-snapshot',
    operationId: 'getRegistrySnapshot',
    tag: 'Devices',
    summary: 'The registered devices as signed pages, for ingest-ws',
    description:
      'Signed with the last private key of this service; 501 where it has none. Begin with `GET /device-events?start=now`, then read all pages, then follow the events.',
    roles: ['analyst', 'operator', 'admin'],
    query: {
      limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 5_000, description: 'Devices in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page', schema: Snapshot },
    problems: [501],
    handler: async ({ query: { limit, cursor }, pageBytes, now }, { signingKeys, registry }) => {
      if (signingKeys === undefined)
        throw notImplemented('query-api has no private key to sign the snapshot with (AUTH_JWKS or AUTH_JWKS_FILE)');
      const scope = { list: 'registry-snapshot' };
      const after = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      const found = await registry.run(listDevices, { ...pageBytes, limit: limit + 1, after, registered: true });
      const { rows, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, ({ deviceId }) =>
        cursors.encode(scope, { deviceId }),
      );
      const content: RegistrySnapshotPage = {
        asOf: now,
        after: after?.deviceId ?? null,
        isLast: page.next === null,
        devices: rows.map(({ deviceId, version, status, type, tags }) => [deviceId, version, status, type, [...tags]]),
      };
      return { document: await signDocument(content, registrySnapshotType, signingKeys), page };
    },
  }),
];
