import Type, { type Static } from 'typebox';
import { DeviceStatus } from './device-registry.ts';
import { DeviceId } from './identifiers.ts';
import { parserOf } from './schema-issue.ts';

/** `typ` of the signature (RFC 7515, 4.1.9). */
export const registrySnapshotType = 'fleetwire-registry+jws';

/** What is said of a registered device: id, version, status, type, tags. A tuple, because there may be many. */
const SnapshotDevice = Type.Tuple([
  DeviceId,
  Type.Integer({ minimum: 1 }),
  DeviceStatus,
  Type.Union([Type.String(), Type.Null()]),
  Type.Array(Type.String()),
]);

/** One page of the registered devices, by id; query-api signs it. */
const RegistrySnapshotPage = Type.Object({
  /** Epoch milliseconds, on the clock of query-api. */
  asOf: Type.Integer(),
  /** The last id of the page before; null on the first page. */
  after: Type.Union([DeviceId, Type.Null()]),
  isLast: Type.Boolean(),
  devices: Type.Array(SnapshotDevice),
});
export type RegistrySnapshotPage = Static<typeof RegistrySnapshotPage>;

export const parseRegistrySnapshotPage = parserOf(RegistrySnapshotPage);
