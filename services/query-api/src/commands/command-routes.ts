import { DeviceId } from '@fleetwire/contracts/identifiers';
import { notFound, Problem } from '@fleetwire/runtime/problem';
import { cancelCommand } from '@fleetwire/store/commands/cancel';
import { commandStates } from '@fleetwire/store/commands/command';
import { cancelCommandJob, getCommandJob } from '@fleetwire/store/commands/jobs';
import { commandsOfDevice, getCommand } from '@fleetwire/store/commands/read';
import { getDevice } from '@fleetwire/store/registry/devices';
import Type from 'typebox';
import type { GuardedDatabase } from '../circuit.ts';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { unknownDevice } from '../devices/read-routes.ts';
import { route } from '../route.ts';
import { PageOf, toPage } from '../schemas.ts';
import { Command, CommandId, CommandJob, CommandState, presentCommand, presentJob } from './schemas.ts';
import { sendRoutes } from './send-routes.ts';

const cursors = cursorCodec(Type.Object({ number: positionFields.number }));
const CommandOrJob = Type.Union([Command, CommandJob]);

export const commandRoutes = [
  ...sendRoutes,
  route({
    method: 'get',
    path: '/devices/{id}/commands',
    operationId: 'listCommands',
    tag: 'Commands',
    summary: 'Commands of one device, newest first',
    description: 'Who sent what, when, and what became of it. Kept for COMMANDS_RETENTION_DAYS after their end.',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    query: {
      state: Type.Optional(
        Type.Array(CommandState, {
          minItems: 1,
          maxItems: commandStates.length,
          description: 'Only commands with one of these states',
        }),
      ),
      limit: Type.Integer({ minimum: 1, maximum: 500, default: 100, description: 'Commands in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of commands', schema: PageOf(Command, {}, {}) },
    problems: [404],
    handler: async ({ params: { id }, query, pageBytes }, { registry }) => {
      const { state: states, limit, cursor } = query;
      const scope = { list: 'commands', id, ...query };
      const before = cursor === undefined ? undefined : cursors.decode(scope, cursor).number;
      const found = await registry.run(commandsOfDevice, {
        deviceId: id,
        states,
        before,
        limit: limit + 1,
        ...pageBytes,
      });
      if (found.length === 0 && (await registry.run(getDevice, { deviceId: id })) === undefined)
        throw unknownDevice(id);
      const { rows, covered, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, ({ number }) =>
        cursors.encode(scope, { number }),
      );
      return { data: rows.map(presentCommand), covers: covered, page };
    },
  }),
  route({
    method: 'get',
    path: '/commands/{id}',
    operationId: 'getCommand',
    tag: 'Commands',
    summary: 'One command and its state; or a job, with how many of its commands are in each state',
    roles: ['device', 'analyst', 'operator', 'admin'],
    ownDataOnly: 'checked-by-handler',
    params: { id: CommandId },
    success: { status: 200, description: 'The command or the job', schema: CommandOrJob },
    problems: [404],
    handler: async ({ params: { id }, caller }, { registry }) => {
      const found = await commandOrJob(registry, id);
      const isForeign = caller.role === 'device' && !('deviceId' in found && found.deviceId === caller.sub);
      if (isForeign) throw unknownCommand(id);
      return found;
    },
  }),
  route({
    method: 'post',
    path: '/commands/{id}/cancel',
    operationId: 'cancelCommand',
    tag: 'Commands',
    summary: 'Cancel a command, or what is pending of a job',
    description:
      'A command that is queued or sent. One that is sent may be executed all the same; its answer is kept as `lateResult`. ' +
      'One that the device has, or that has ended, is not cancelled: 409.',
    roles: ['operator', 'admin'],
    params: { id: CommandId },
    success: { status: 200, description: 'The command or the job, cancelled', schema: CommandOrJob },
    problems: [404, 409],
    handler: async ({ params: { id }, caller }, { registryChanges, commands: { entered, tell } }) => {
      const one = await registryChanges.run(cancelCommand, { id, actor: caller.sub });
      const cancelled =
        one === undefined ? ((await registryChanges.run(cancelCommandJob, { id, actor: caller.sub })) ?? []) : [one];
      entered.inc({ state: 'cancelled' }, cancelled.length);
      tell(cancelled);
      const found = await commandOrJob(registryChanges, id);
      if (one === undefined && 'state' in found)
        throw new Problem(409, 'Command conflict', {
          detail: `The command is ${found.state}: only one that is queued or sent can be cancelled`,
          extensions: { code: 'command-conflict', state: found.state },
        });
      return found;
    },
  }),
];

/** @throws {Problem} 404 */
async function commandOrJob(database: GuardedDatabase, id: string) {
  const command = await database.run(getCommand, { id });
  if (command !== undefined) return presentCommand(command);
  const job = await database.run(getCommandJob, { id });
  if (job === undefined) throw unknownCommand(id);
  return presentJob(job);
}

function unknownCommand(id: string): Problem {
  return notFound(`There is no command or job ${id}`);
}
