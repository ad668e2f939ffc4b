import { CommandName } from '@fleetwire/contracts/command';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { limits } from '@fleetwire/contracts/limits';
import { commandModes, commandStates, type StoredCommand } from '@fleetwire/store/commands/command';
import type { StoredCommandJob } from '@fleetwire/store/commands/jobs';
import Type from 'typebox';
import { orNull, Time } from '../schemas.ts';
import { isoTime } from '../time-range.ts';

export const CommandId = Type.String({ minLength: 1, maxLength: 64, description: 'Id of a command, or of a job' });

export const CommandState = Type.Enum([...commandStates]);

const Links = Type.Record(Type.String(), Type.String());
const described = {
  command: CommandName,
  args: Type.Unknown({ description: `Any JSON, at most ${limits.commandArgsBytesMax} bytes` }),
  mode: Type.Enum([...commandModes]),
  createdAt: Time,
  createdBy: Type.String({ description: 'Subject of the token with which it was sent' }),
  cancelledBy: orNull(Type.String(), 'Subject of the token with which it was cancelled'),
};

const Failure = Type.Object({
  code: Type.String({
    description: 'As the device gave it; or device-unknown, device-offline, too-many-attempts',
  }),
  message: Type.Optional(Type.String()),
});

export const Command = Type.Object(
  {
    id: CommandId,
    deviceId: DeviceId,
    ...described,
    state: Type.Enum([...commandStates], {
      description:
        'queued; sent: written to a socket of the device; delivered: the device has it; and its ends: succeeded and failed by the device, failed without an attempt (`error.code`), timed-out, expired, cancelled',
    }),
    job: orNull(CommandId, 'The job that sends it to many devices'),
    timeoutMs: Type.Integer(),
    expiresAt: orNull(Time, 'Until when it may be sent (when-online), or answered (now); null until its job sends it'),
    attempts: Type.Integer({ description: 'How often it was written to a socket' }),
    sentAt: orNull(Time, 'On the clock of the edge, as deliveredAt'),
    deliveredAt: orNull(Time, 'When the device said that it has the command'),
    finishedAt: orNull(Time, 'When it ended'),
    result: Type.Unknown({ description: 'The answer of the device; null without one' }),
    error: orNull(Failure, 'Why it failed'),
    lateResult: Type.Unknown({
      description: 'The answer of the device after the command had ended: `{ok, result|error, at}`; null without one',
    }),
    _links: Links,
  },
  { title: 'Command' },
);

export const CommandJob = Type.Object(
  {
    id: CommandId,
    target: Type.Unknown({ description: '`*`, `{pattern}` or `{tag}`, as it was sent' }),
    ...described,
    ratePerSecond: Type.Integer(),
    targets: Type.Integer({ description: 'Devices that matched when the job was made' }),
    states: Type.Record(Type.String(), Type.Integer(), { description: 'Commands by state' }),
    percent: Type.Integer({ minimum: 0, maximum: 100, description: 'Commands that have ended' }),
    _links: Links,
  },
  { title: 'CommandJob' },
);

const root = '/api/v1';

export function linkTo(id: string): string {
  return `${root}/commands/${id}`;
}

export function presentCommand(command: StoredCommand) {
  const { id, deviceId, jobId, expiresAt, deadlineAt, finishedAt } = command;
  return {
    id,
    deviceId,
    command: command.command,
    args: command.args,
    mode: command.mode,
    state: command.state,
    job: jobId,
    timeoutMs: command.timeoutMs,
    expiresAt: timeOrNull(expiresAt ?? deadlineAt),
    attempts: command.attempts,
    createdAt: isoTime(command.createdAt),
    createdBy: command.createdBy,
    cancelledBy: command.cancelledBy,
    sentAt: timeOrNull(command.sentAt),
    deliveredAt: timeOrNull(command.deliveredAt),
    finishedAt: timeOrNull(finishedAt),
    result: command.result,
    error: command.error,
    lateResult: command.lateResult,
    _links: {
      self: linkTo(id),
      device: `${root}/devices/${encodeURIComponent(deviceId)}`,
      ...(finishedAt === null && { cancel: `${linkTo(id)}/cancel` }),
      ...(jobId !== null && { job: linkTo(jobId) }),
    },
  };
}

const unfinished = new Set(['queued', 'sent', 'delivered']);

export function presentJob({ createdAt, states, ...job }: StoredCommandJob) {
  const counts = Object.entries(states);
  const sum = (of: typeof counts): number => of.reduce((total, [, count]) => total + count, 0);
  const targets = sum(counts);
  const ended = sum(counts.filter(([state]) => !unfinished.has(state)));
  return {
    ...job,
    createdAt: isoTime(createdAt),
    targets,
    states,
    percent: targets === 0 ? 100 : Math.floor((100 * ended) / targets),
    _links: { self: linkTo(job.id), ...(ended < targets && { cancel: `${linkTo(job.id)}/cancel` }) },
  };
}

function timeOrNull(epochMs: number | null): string | null {
  return epochMs === null ? null : isoTime(epochMs);
}
