import { plainControl } from '@fleetwire/contracts/plain-dialect';
import {
  type CommandFrameType,
  parseControl,
  parseControlReceived,
  parseControlResult,
} from '@fleetwire/contracts/command-frames';
import { maySendCommands } from '@fleetwire/contracts/access';
import type { DeviceFrame } from '@fleetwire/contracts/device-protocol';
import { type ValidationIssue, refused } from '@fleetwire/contracts/validation-issue';
import type { Caller } from './authentication.ts';
import { type SendControl, unavailable } from './control-client.ts';
import type { CommandSocket } from './device-holders.ts';
import type { Rejections } from './rejections.ts';
import type { SessionParts } from './session-context.ts';

/** How sockets of operators send commands. */
export interface ControlContext {
  /** Undefined where no query-api is configured. */
  readonly send: SendControl | undefined;
  /** Of one socket. */
  readonly inFlightMax: number;
}

type CommandFrame = Extract<DeviceFrame, { type: CommandFrameType }>;

const retryAfterMs = 1_000;
/** Refusals of a command that was recorded, for want of a device to send it to. */
const madeInSpiteOf: ReadonlySet<string> = new Set(['device-offline', 'device-unknown']);

/** Handles the frames about commands of one socket; made when the first comes. */
export class CommandFrames {
  readonly #session: SessionParts & CommandSocket & { readonly caller: Caller };
  readonly #rejections: Rejections;
  #controlsInFlight = 0;

  constructor(session: SessionParts & CommandSocket & { readonly caller: Caller }, rejections: Rejections) {
    this.#session = session;
    this.#rejections = rejections;
  }

  receive({ type, frame }: CommandFrame, now: number): void {
    switch (type) {
      case 'control':
        return void this.#control(frame, now);
      case 'control-received':
        return this.#confirm(frame, now);
      case 'control-result':
        return this.#answer(frame, now);
    }
  }

  async #control(frame: unknown, now: number): Promise<void> {
    const { id: sessionId, claims, caller, context, outbound } = this.#session;
    const { send, inFlightMax } = context.controls;
    const parsed = parseControl(frame);
    if (!maySendCommands(claims)) {
      const { issue } = refused(
        'forbidden',
        '',
        `the role "${claims.role}" may not send commands; operators and admins may`,
      );
      return this.#refuse(idOf(frame), issue, now);
    }
    if (!parsed.ok) return this.#refuse(idOf(frame), parsed.issue, now);
    const { id, target } = parsed.value;
    const named = id === undefined ? {} : { id };
    if (this.#controlsInFlight >= inFlightMax) {
      context.metrics.limitsReached.inc({ limit: 'controlsInFlightMax' });
      this.#rejections.countUnproductive(now);
      const message = `${inFlightMax} commands of this socket are not answered yet (CONTROLS_IN_FLIGHT_MAX); send it again after an answer`;
      return outbound.send({
        type: 'error',
        ...named,
        code: 'in-flight-limit',
        message,
        retryable: true,
        retryAfterMs,
      });
    }
    this.#controlsInFlight += 1;
    const idempotencyKey = id === undefined ? undefined : `${sessionId}:${id}`;
    const answer = await (send?.(parsed.value, { token: caller.token, idempotencyKey }) ??
      unavailable('this instance knows no query-api, which sends commands (QUERY_API_URL)', false));
    this.#controlsInFlight -= 1;
    context.metrics.controls.inc({ result: answer.type === 'error' ? answer.code : 'accepted' });
    const isMade = answer.type !== 'error' || madeInSpiteOf.has(answer.code);
    if (this.#session.isPlain && isMade) context.plain.controls.publish(plainControl(parsed.value, 'websocket', now));
    // Without an id, a client of the plain dialect is answered by what is told to all.
    if (answer.type === 'error') outbound.send({ ...answer, ...named });
    else if (!this.#session.isPlain || id !== undefined) outbound.send({ ...answer, ...named, target });
  }

  #confirm(frame: unknown, now: number): void {
    const parsed = parseControlReceived(frame);
    if (!parsed.ok) return this.#refuse(idOf(frame), parsed.issue, now);
    const { id } = parsed.value;
    if (!this.#session.context.commands.confirm(id, this.#session)) this.#refuseUnknown(id, now);
  }

  #answer(frame: unknown, now: number): void {
    const { commands, metrics } = this.#session.context;
    const parsed = parseControlResult(frame);
    if (!parsed.ok) return this.#refuse(idOf(frame), parsed.issue, now);
    const { id } = parsed.value;
    const answer = commands.answer(parsed.value, this.#session);
    switch (answer) {
      case 'taken':
        return;
      case 'unknown':
        return this.#refuseUnknown(id, now);
      case 'repeated':
        metrics.commandAnswers.inc({ answer });
        return this.#rejections.countUnproductive(now);
      case 'overloaded':
        metrics.commandAnswers.inc({ answer });
        return this.#session.outbound.send({
          type: 'error',
          id,
          code: 'overloaded',
          message: 'RabbitMQ does not take results now; send the result again after retryAfterMs',
          retryable: true,
          retryAfterMs,
        });
    }
  }

  #refuseUnknown(id: string, now: number): void {
    this.#session.context.metrics.commandAnswers.inc({ answer: 'unknown' });
    const message = `no command "${id}" was sent to a device of this socket, or its time is over`;
    this.#session.outbound.send({ type: 'error', id, code: 'no-such-command', message, retryable: false });
    this.#rejections.countUnproductive(now);
  }

  #refuse(id: string | undefined, { code, message }: ValidationIssue, now: number): void {
    this.#session.context.metrics.commandAnswers.inc({ answer: 'refused' });
    this.#session.outbound.send({
      type: 'error',
      ...(id === undefined ? {} : { id }),
      code,
      message,
      retryable: false,
    });
    this.#rejections.countUnproductive(now);
  }
}

/** So that the answer to a frame that is refused can name it. */
function idOf(frame: unknown): string | undefined {
  const { id } = frame as { id?: unknown };
  return typeof id === 'string' && id.length <= 64 ? id : undefined;
}
