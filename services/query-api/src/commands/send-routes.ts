import { randomUUID } from 'node:crypto';
import { Tag } from '@fleetwire/contracts/device-registry';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { limits } from '@fleetwire/contracts/limits';
import { Problem, tooManyRequests, unprocessable } from '@fleetwire/runtime/problem';
import { commandFailures, type StoredCommand } from '@fleetwire/store/commands/command';
import { createCommand } from '@fleetwire/store/commands/create';
import { createCommandJob, getCommandJob, type StoredCommandJob } from '@fleetwire/store/commands/jobs';
import { getCommand } from '@fleetwire/store/commands/read';
import Type from 'typebox';
import { route } from '../route.ts';
import { isoTime } from '../time-range.ts';
import { enteredChange } from './command-events.ts';
import {
  commandFields,
  commandRequest,
  digestOf,
  idempotencyKey,
  keyConflict,
  replayedHeader,
} from './command-request.ts';
import { Command, CommandJob, linkTo, presentCommand, presentJob } from './schemas.ts';

const waitSecondsMax = 30;
const ratePerSecondMax = 500;
const ratePerSecondDefault = 50;

const preferHeader = {
  prefer: Type.Optional(
    Type.String({
      maxLength: 200,
      description: `\`wait=5\`: wait up to 5 seconds for the end of the command, at most ${waitSecondsMax} (RFC 7240)`,
      examples: ['wait=5'],
    }),
  ),
};

const Target = Type.Union(
  [
    Type.Literal('*'),
    Type.Object(
      { pattern: Type.String({ minLength: 1, maxLength: limits.patternCharactersMax }) },
      { additionalProperties: false },
    ),
    Type.Object({ tag: Tag }, { additionalProperties: false }),
  ],
  {
    description:
      '`*`: all devices; `pattern`: of which the whole id matches, `*` is any text and `?` one character; `tag`: that have the tag',
  },
);

const ManyBody = Type.Object(
  {
    target: Target,
    ...commandFields,
    ratePerSecond: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: ratePerSecondMax,
        default: ratePerSecondDefault,
        description: 'Commands sent in a second',
      }),
    ),
    confirm: Type.Literal(true, { description: 'Says that you mean all of these devices' }),
  },
  {
    title: 'CommandJobRequest',
    additionalProperties: false,
    examples: [{ target: { tag: 'site:north' }, command: 'reboot', ratePerSecond: 20, confirm: true }],
  },
);

const common = { tag: 'Commands', roles: ['operator', 'admin'] } as const;

export const sendRoutes = [
  route({
    ...common,
    method: 'post',
    path: '/devices/{id}/commands',
    operationId: 'sendCommand',
    summary: 'Send a command to a device',
    description:
      'Answers 202 with the command, whose state you read at `Location`; with `Prefer: wait=N` 200 once it has ended, if that is in time. ' +
      'A command to an unknown device (404), and in the mode now to one that is offline (409), is recorded as failed. ' +
      'At most COMMANDS_PENDING_PER_DEVICE_MAX commands of a device may be pending (429).',
    params: { id: DeviceId },
    headers: { ...idempotencyKey, ...preferHeader },
    body: Type.Object(commandFields, {
      title: 'CommandRequest',
      additionalProperties: false,
      examples: [{ command: 'set_threshold', args: { min: 22, max: 28 }, timeoutMs: 5_000 }],
    }),
    success: {
      status: 200,
      description: 'The command has ended; only with `Prefer: wait=N`',
      schema: Command,
      headers: {
        Location: 'The command',
        'Preference-Applied': 'What was applied of Prefer',
        ...replayedHeader,
      },
      alternative: { status: 202, description: 'The command is on its way', schema: Command },
    },
    problems: [404, 409, 422],
    handler: async ({ params: { id: deviceId }, headers, body, caller, now, setHeader, setStatus }, api) => {
      const { waits, pendingPerDeviceMax, timeoutMsMax, entered, tell } = api.commands;
      const request = commandRequest(body, { now, timeoutMsMax });
      const waitMs = waits === undefined ? undefined : waitMsOf(headers.prefer);
      const id = randomUUID();
      // Before the command is there: its answer may be faster than this call.
      using wait = waitMs === undefined ? undefined : waits?.open(id);
      const created = await api.registryChanges.run(createCommand, {
        ...request,
        id,
        deviceId,
        createdBy: caller.sub,
        idempotencyKey: headers['idempotency-key'],
        digest: digestOf({ deviceId, body }),
        replyTo: wait === undefined ? null : (waits?.instance ?? null),
        pendingMax: pendingPerDeviceMax,
      });
      if (!('command' in created))
        throw created.kind === 'other-request' ? keyConflict() : tooManyPending(deviceId, pendingPerDeviceMax);
      const { kind, command, lastSeenAt } = created;
      if (kind === 'created') {
        entered.inc({ state: command.state });
        tell([enteredChange(command)]);
      } else setHeader('Idempotency-Replayed', 'true');
      refuseUnreachable(command, lastSeenAt);
      setHeader('Location', linkTo(command.id));
      if (waitMs !== undefined) setHeader('Preference-Applied', `wait=${waitMs / 1_000}`);
      const look = () => api.registryChanges.run(getCommand, { id: command.id });
      const ended = command.finishedAt === null ? await wait?.ended(waitMs ?? 0, look) : command;
      if (wait === undefined || ended === undefined) setStatus(202);
      return presentCommand(ended ?? command);
    },
  }),
  route({
    ...common,
    method: 'post',
    path: '/commands',
    operationId: 'sendCommandToMany',
    summary: 'Send a command to many devices',
    description:
      'A job with one command for each device that matches now; devices that are registered or appear later are left out, and so are retired ones. ' +
      'Read what became of them at `Location`, and the command of a device in its list. At most COMMAND_TARGETS_MAX devices.',
    headers: idempotencyKey,
    body: ManyBody,
    success: {
      status: 202,
      description: 'The job',
      schema: CommandJob,
      headers: { Location: 'The job', ...replayedHeader },
    },
    problems: [409, 422],
    handler: async ({ headers, body, caller, now, setHeader }, api) => {
      const { timeoutMsMax, targetsMax, entered } = api.commands;
      const request = commandRequest(body, { now, timeoutMsMax });
      const created = await api.registryChanges.run(createCommandJob, {
        ...request,
        id: randomUUID(),
        target: body.target,
        ratePerSecond: body.ratePerSecond ?? ratePerSecondDefault,
        createdBy: caller.sub,
        idempotencyKey: headers['idempotency-key'],
        digest: digestOf(body),
        targetsMax,
      });
      if (!('id' in created)) throw refusalOfMany(created.kind, targetsMax);
      if (created.kind === 'created') entered.inc({ state: 'queued' }, created.targets);
      else setHeader('Idempotency-Replayed', 'true');
      setHeader('Location', linkTo(created.id));
      return presentJob((await api.registryChanges.run(getCommandJob, { id: created.id })) as StoredCommandJob);
    },
  }),
];

export function tooManyPending(deviceId: string, pendingMax: number): Problem {
  return tooManyRequests(
    `Device ${deviceId} has ${pendingMax} commands that have not ended (COMMANDS_PENDING_PER_DEVICE_MAX); wait for them, or cancel some`,
    5_000,
  );
}

/** @throws {Problem} 404 or 409 for a command that was recorded as failed when it was made */
function refuseUnreachable({ id, deviceId, error, attempts, mode }: StoredCommand, lastSeenAt: number | null): void {
  if (attempts > 0 || error === null) return;
  const { code } = error;
  if (code === commandFailures.unknown)
    throw new Problem(404, 'Not found', {
      detail: `Device ${deviceId} is not known: it has sent nothing, and is not registered`,
      extensions: { code, command: linkTo(id) },
    });
  if (code === commandFailures.offline && mode === 'now')
    throw new Problem(409, 'Device offline', {
      detail: `Device ${deviceId} has no session; send the command with "mode": "when-online", or again later`,
      extensions: { code, lastSeenAt: lastSeenAt === null ? null : isoTime(lastSeenAt), command: linkTo(id) },
    });
}

/** Of `Prefer: wait=5`; a preference that is not understood is ignored (RFC 7240, 2). */
function waitMsOf(prefer: string | undefined): number | undefined {
  const seconds = /(?:^|[,;])\s*wait\s*=\s*(\d{1,6})\s*(?:[,;]|$)/i.exec(prefer ?? '')?.[1];
  return seconds === undefined ? undefined : Math.min(waitSecondsMax, Number(seconds)) * 1_000;
}

function refusalOfMany(kind: 'other-request' | 'no-device' | 'too-many-devices', targetsMax: number): Problem {
  if (kind === 'other-request') return keyConflict();
  const detail =
    kind === 'no-device'
      ? 'matches no device'
      : `matches more than ${targetsMax} devices (COMMAND_TARGETS_MAX); use a pattern or a tag that matches fewer`;
  return unprocessable('Nothing was sent', [{ field: 'body.target', detail }]);
}
