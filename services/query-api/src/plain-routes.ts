import { randomUUID } from 'node:crypto';
import { CommandName } from '@fleetwire/contracts/command';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import {
  PlainControl,
  PlainState,
  plainControl,
  plainSnapshotDevicesMax,
  plainTime,
  plainValueOf,
} from '@fleetwire/contracts/plain-dialect';
import { createCommand } from '@fleetwire/store/commands/create';
import { type LatestRow, latestOf, newestLatest } from '@fleetwire/store/readers';
import Type from 'typebox';
import { enteredChange } from './commands/command-events.ts';
import { commandRequest, digestOf } from './commands/command-request.ts';
import { tooManyPending } from './commands/send-routes.ts';
import { route } from './route.ts';
import { storedIn } from './status-routes.ts';

const timestamp_utc = Type.String({ description: 'RFC 3339 with the offset +00:00' });
const tag = 'Plain dialect';

/** The unversioned routes of the plain dialect: docs/plain-dialect.md. `POST /api/data` is a route of ingest-ws. */
export const plainRoutes = [
  route({
    method: 'get',
    path: '/status',
    operationId: 'getPlainStatus',
    tag,
    summary: 'Whether readings are acknowledged, and how many devices and sockets there are',
    roles: ['analyst', 'operator', 'admin'],
    success: {
      status: 200,
      description: 'The counts of all instances',
      schema: Type.Object(
        {
          ok: Type.Boolean({
            description: 'false: readings that are sent now are not acknowledged, or not on every instance',
          }),
          devices_known: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
            description: 'At most 100,000 are counted; null if the database has not answered since query-api started',
          }),
          websocket_clients_connected: Type.Integer({ minimum: 0 }),
          timestamp_utc,
        },
        { title: 'PlainStatus' },
      ),
    },
    handler: async ({ now }, api) => {
      const stored = await storedIn(api);
      const { sockets, isAcknowledging } = api.instances.readEdges();
      return {
        ok: isAcknowledging,
        devices_known: stored?.devices.count ?? null,
        websocket_clients_connected: sockets,
        timestamp_utc: plainTime(now),
      };
    },
  }),
  route({
    method: 'get',
    path: '/data',
    operationId: 'getPlainData',
    tag,
    summary: 'Last known state of the newest devices',
    description: `At most ${plainSnapshotDevicesMax.toLocaleString('en')} devices, the newest first; \`GET /api/v1/data\` pages through all. A device gets itself only.`,
    roles: ['device', 'analyst', 'operator', 'admin'],
    ownDataOnly: 'checked-by-handler',
    success: {
      status: 200,
      description: 'The state by device id',
      schema: Type.Object(
        {
          timestamp_utc,
          data: PlainState,
          truncated: Type.Optional(Type.Literal(true, { description: 'More devices are known' })),
          stale: Type.Optional(
            Type.Literal(true, { description: 'The database is unavailable: this is its last good answer' }),
          ),
        },
        { title: 'PlainStates' },
      ),
    },
    handler: async ({ caller, pageBytes }, { latest, lastNewest }) => {
      if (caller.role === 'device') {
        const row = await latest.run(latestOf, { deviceId: caller.sub });
        return { timestamp_utc: plainTime(Date.now()), data: stateOf(row === undefined ? [] : [row]) };
      }
      const { value, asOf, stale } = await lastNewest.read('', () =>
        latest.run(newestLatest, { limit: plainSnapshotDevicesMax, ...pageBytes, signal: undefined }),
      );
      return {
        timestamp_utc: plainTime(asOf),
        data: stateOf(value.rows),
        ...(value.isCut && { truncated: true as const }),
        ...(stale && { stale: true as const }),
      };
    },
  }),
  route({
    method: 'post',
    path: '/control',
    operationId: 'sendPlainControl',
    tag,
    summary: 'Send a command to a device',
    description:
      'A command in mode now, told to the sockets of the plain dialect that may see the target. `POST /api/v1/devices/{id}/commands` says more of what became of it.',
    roles: ['operator', 'admin'],
    body: Type.Object(
      { target: DeviceId, command: CommandName, args: Type.Optional(Type.Unknown()) },
      { title: 'PlainControlRequest' },
    ),
    success: {
      status: 200,
      description: 'The command is recorded',
      schema: Type.Object(
        {
          ok: Type.Literal(true),
          dispatched: Type.Boolean({ description: 'false: no socket has the device; `reason` says why' }),
          reason: Type.Optional(Type.String()),
          event: PlainControl,
        },
        { title: 'PlainControlAnswer' },
      ),
    },
    handler: async ({ body, caller, now }, api) => {
      const { target, command, args } = body;
      const { pendingPerDeviceMax, timeoutMsMax, entered, tell } = api.commands;
      const created = await api.registryChanges.run(createCommand, {
        ...commandRequest({ command, args: args ?? {} }, { now, timeoutMsMax }),
        id: randomUUID(),
        deviceId: target,
        createdBy: caller.sub,
        idempotencyKey: undefined,
        digest: digestOf(body),
        replyTo: null,
        pendingMax: pendingPerDeviceMax,
      });
      if (!('command' in created)) throw tooManyPending(target, pendingPerDeviceMax);
      const { state, error } = created.command;
      entered.inc({ state });
      tell([enteredChange(created.command)]);
      const event = plainControl({ target, command, args }, 'rest', now);
      api.tellControl(event);
      return { ok: true as const, dispatched: error === null, ...(error !== null && { reason: error.code }), event };
    },
  }),
];

function stateOf(rows: readonly LatestRow[]): PlainState {
  return Object.fromEntries(
    rows.map(({ deviceId, receivedAt, metrics }) => {
      const values = Object.fromEntries(Object.entries(metrics).map(([name, { value }]) => [name, value]));
      return [deviceId, { value: plainValueOf(values), updated_at_utc: plainTime(receivedAt) }];
    }),
  );
}
