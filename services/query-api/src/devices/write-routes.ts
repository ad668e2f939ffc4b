import { randomUUID } from 'node:crypto';
import { DeviceFields, DevicePatch, DeviceStatus, NewDevice } from '@fleetwire/contracts/device-registry';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { forbidden, notFound, Problem } from '@fleetwire/runtime/problem';
import { insertDevice, updateDevice } from '@fleetwire/store/registry/changes';
import { getDevice } from '@fleetwire/store/registry/devices';
import { erasureOf } from '@fleetwire/store/registry/erasures';
import Type from 'typebox';
import { applyMergePatch } from '../dead-letters/merge-patch.ts';
import { type ApiContext, route } from '../route.ts';
import { changeDevice, differenceOf, requireMetadata, withFields } from './change-device.ts';
import { etagHeader, etagOf } from './read-routes.ts';
import { Device, DeviceErasure, fieldsOf, presentDevice, presentErasure } from './schemas.ts';

const common = { tag: 'Devices', roles: ['operator', 'admin'] } as const;
const registrationAttemptsMax = 3;

const ifMatchHeader = {
  'if-match': Type.Optional(
    Type.String({
      maxLength: 200,
      description: 'ETag of the version that you have read; required. `*` accepts any version',
      examples: ['"7"', '*'],
    }),
  ),
};

const changed = {
  status: 200,
  description: 'The device after the change',
  schema: Device,
  headers: etagHeader,
} as const;
const changeProblems = [404, 409, 412, 428];

const StatusChange = Type.Object(
  { status: DeviceStatus },
  { title: 'DeviceStatusChange', additionalProperties: false, examples: [{ status: 'maintenance' }] },
);

export const writeRoutes = [
  route({
    ...common,
    method: 'post',
    path: '/devices',
    operationId: 'registerDevice',
    summary: 'Register a device',
    description:
      'A device that has sent readings without being registered keeps them. 409 where it is registered already, also where it is retired.',
    body: NewDevice,
    success: {
      status: 201,
      description: 'The device',
      schema: Device,
      headers: { ...etagHeader, Location: 'Path of the device' },
    },
    problems: [409, 422],
    handler: async ({ body: { deviceId, ...fields }, caller, now, setHeader }, api) => {
      const state = withFields({ status: 'active', erasedBefore: null }, fields);
      const event = { deviceId, type: 'device.registered', actor: caller.sub, state } as const;
      for (let attempt = 1; attempt <= registrationAttemptsMax; attempt += 1) {
        const before = await api.registry.run(getDevice, { deviceId });
        if (before !== undefined && before.version > 0)
          throw new Problem(409, 'Conflict', {
            detail: `Device ${deviceId} is registered already, with status ${before.status}; change it with PATCH`,
          });
        const patch = differenceOf(before, state);
        const isDone =
          before === undefined
            ? await api.registryChanges.run(insertDevice, { ...event, patch })
            : await api.registryChanges.run(updateDevice, { ...event, patch, expectedVersion: 0 });
        const device = isDone ? await api.registry.run(getDevice, { deviceId }) : undefined;
        if (device === undefined) continue; // its first reading, or another registration, came between
        setHeader('ETag', etagOf(device.version));
        setHeader('Location', `/api/v1/devices/${encodeURIComponent(deviceId)}`);
        return presentDevice(device, now);
      }
      throw new Problem(409, 'Conflict', { detail: `Device ${deviceId} is being registered by another client` });
    },
  }),
  route({
    ...common,
    method: 'put',
    path: '/devices/{id}',
    operationId: 'replaceDevice',
    summary: 'Replace what is set of a device',
    description: 'Members that are left out are removed. Status and readings stay.',
    params: { id: DeviceId },
    headers: ifMatchHeader,
    body: DeviceFields,
    success: changed,
    problems: [...changeProblems, 422],
    handler: async ({ params: { id }, headers, body, caller, now, setHeader }, api) => {
      const device = await changeDevice(api, {
        id,
        ifMatch: headers['if-match'],
        caller,
        change: (before) => ({ type: 'device.updated', state: withFields(before, body) }),
      });
      setHeader('ETag', etagOf(device.version));
      return presentDevice(device, now);
    },
  }),
  route({
    ...common,
    method: 'patch',
    path: '/devices/{id}',
    operationId: 'patchDevice',
    summary: 'Change some of what is set of a device',
    description:
      'JSON merge patch (RFC 7396): null removes a member; `location` and `metadata` are merged member by member; `tags` are replaced as a whole.',
    params: { id: DeviceId },
    headers: ifMatchHeader,
    body: DevicePatch,
    bodyType: 'application/merge-patch+json',
    success: changed,
    problems: [...changeProblems, 422],
    handler: async ({ params: { id }, headers, body, caller, now, setHeader }, api) => {
      // Before the merge, which recurses into it.
      requireMetadata(body.metadata ?? {});
      const device = await changeDevice(api, {
        id,
        ifMatch: headers['if-match'],
        caller,
        change: (before) => ({
          type: 'device.updated',
          state: withFields(before, applyMergePatch(fieldsOf(before), body)),
        }),
      });
      setHeader('ETag', etagOf(device.version));
      return presentDevice(device, now);
    },
  }),
  route({
    ...common,
    method: 'patch',
    path: '/devices/{id}/status',
    operationId: 'setDeviceStatus',
    summary: 'Set the status of a device',
    params: { id: DeviceId },
    headers: ifMatchHeader,
    body: StatusChange,
    success: changed,
    problems: changeProblems,
    handler: async ({ params: { id }, headers, body: { status }, caller, now, setHeader }, api) => {
      const device = await changeDevice(api, {
        id,
        ifMatch: headers['if-match'],
        caller,
        change: (before) => ({
          type: status === 'retired' ? 'device.retired' : 'device.status-changed',
          state: { ...before, status },
        }),
      });
      setHeader('ETag', etagOf(device.version));
      return presentDevice(device, now);
    },
  }),
  route({
    ...common,
    method: 'delete',
    path: '/devices/{id}',
    operationId: 'retireDevice',
    summary: 'Retire a device, or erase its readings',
    description:
      'Its readings, its entry and its events stay; lists leave it out unless `status=retired` is asked. Set its status to `active` to bring it back. ' +
      'With `erase=true` (role admin) it is retired, and a job erases its readings, latest state and dead letters received up to now: follow it with `GET /devices/{id}/erasure`. ' +
      'Entry and events stay, marked `erasedBefore`, and so do the sequence numbers: stored readings that were erased are not stored when they are sent again. A reading whose dead letter was erased was never stored, and is stored when it is sent again.',
    params: { id: DeviceId },
    query: {
      erase: Type.Boolean({ default: false, description: 'Also erase its readings, for good; role admin' }),
    },
    headers: ifMatchHeader,
    success: {
      ...changed,
      alternative: {
        status: 202,
        description: 'With `erase`: the job that erases its readings',
        schema: DeviceErasure,
        headers: { Location: 'The job' },
      },
    },
    problems: changeProblems,
    handler: async ({ params: { id }, query: { erase }, headers, caller, now, setHeader, setStatus }, api) => {
      if (erase && caller.role !== 'admin') throw forbidden('Only the role "admin" may erase readings');
      const device = await changeDevice(api, {
        id,
        ifMatch: headers['if-match'],
        caller,
        change: (before) =>
          erase
            ? {
                type: 'device.erased',
                state: { ...before, status: 'retired', erasedBefore: now },
                erasureId: randomUUID(),
              }
            : { type: 'device.retired', state: { ...before, status: 'retired' } },
      });
      setHeader('ETag', etagOf(device.version));
      if (!erase) return presentDevice(device, now);
      setStatus(202);
      setHeader('Location', `/api/v1/devices/${encodeURIComponent(id)}/erasure`);
      return erasureAt(api, id);
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/devices/{id}/erasure',
    operationId: 'getDeviceErasure',
    summary: 'Progress of the newest job that erases the readings of a device',
    params: { id: DeviceId },
    success: { status: 200, description: 'The job', schema: DeviceErasure },
    problems: [404],
    handler: async ({ params: { id } }, api) => erasureAt(api, id),
  }),
];

async function erasureAt({ registry }: ApiContext, id: string) {
  const erasure = await registry.run(erasureOf, { deviceId: id });
  if (erasure === undefined) throw notFound(`The readings of device ${id} were never erased`);
  return presentErasure(id, erasure);
}
