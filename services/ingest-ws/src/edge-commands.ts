import { type CommandDispatch, decodeCommandDispatch, notHereCodes } from '@fleetwire/contracts/command';
import type { ControlResult } from '@fleetwire/contracts/command-frames';
import type { Logger } from '@fleetwire/runtime/logger';
import type { CommandOutcomes, ReportedCommand } from './command-outcomes.ts';
import type { CommandSocket, DeviceHolders } from './device-holders.ts';
import type { IngestMetrics } from './metrics.ts';

export interface EdgeCommandsOptions {
  readonly holders: DeviceHolders;
  readonly outcomes: CommandOutcomes;
  readonly pendingMax: number;
  /** Bytes that a device has not read, beyond which it gets no command. */
  readonly queuedBytesMax: number;
  readonly metrics: IngestMetrics;
  readonly logger: Logger;
}

interface PendingCommand extends ReportedCommand {
  /** Undefined once the socket has ended; the device may still answer on another. */
  socket: CommandSocket | undefined;
  readonly sentAt: number;
  readonly forgetAt: number;
  isDelivered: boolean;
}

/** A result within this time after the deadline is passed on as late. */
const lateResultMs = 60_000;
/** Of deadlines by another machine's clock. */
const deadlineMsMax = 600_000;
const sweepMs = 5_000;
/** Commands whose result has come, so that a second one is known as such. */
const answeredMax = 10_000;

/** Commands between the broker and the sockets of this edge: those that were sent and whose result has not come are kept by id. */
export class EdgeCommands {
  readonly #options: EdgeCommandsOptions;
  readonly #pending = new Map<string, PendingCommand>();
  readonly #ofSocket = new Map<CommandSocket, Set<PendingCommand>>();
  /** Those of `#pending` whose socket has ended, the oldest first. They take no place of a command that can be answered. */
  readonly #ended = new Set<PendingCommand>();
  readonly #answered = new Map<string, PendingCommand>();
  readonly #sweep: NodeJS.Timeout;

  constructor(options: EdgeCommandsOptions) {
    this.#options = options;
    this.#sweep = setInterval(() => this.#forgetOld(), sweepMs).unref();
  }

  close(): void {
    clearInterval(this.#sweep);
  }

  /** A command from the broker. An attempt is written once at most; one that comes to all edges is answered by a holder only. */
  receive(content: Buffer, isForAll: boolean): void {
    const { holders, outcomes, metrics, logger } = this.#options;
    const decoded = decodeCommandDispatch(content);
    if (!decoded.ok) {
      metrics.commands.inc({ result: 'unreadable' });
      return logger.warn({ reason: decoded.issue.message }, 'command refused');
    }
    const dispatch = decoded.value;
    const known = this.#pending.get(dispatch.id) ?? this.#answered.get(dispatch.id);
    if (known !== undefined && known.attempt >= dispatch.attempt) {
      metrics.commands.inc({ result: 'repeated' });
      return this.#reportAgain(known);
    }
    const socket = holders.find(dispatch.deviceId);
    if (socket === undefined) {
      if (isForAll) return;
      metrics.commands.inc({ result: 'not-here' });
      outcomes.report(dispatch, 'not-here');
      return;
    }
    const overload = this.#overloadOf(socket);
    if (overload !== undefined) {
      metrics.commands.inc({ result: 'overloaded' });
      outcomes.report(dispatch, 'not-here', { error: { code: notHereCodes.overloaded, message: overload } });
      return;
    }
    this.#send(dispatch, socket);
  }

  /** The device has received the command. @returns false where it holds no such command */
  confirm(id: string, socket: CommandSocket): boolean {
    const pending = this.#pending.get(id);
    if (pending === undefined) return this.#isAnswered(id, socket);
    if (!this.#holds(pending.deviceId, socket, pending)) return false;
    if (pending.isDelivered) return true;
    pending.isDelivered = true;
    this.#options.metrics.commandAnswers.inc({ answer: 'delivered' });
    this.#options.outcomes.report(pending, 'delivered');
    return true;
  }

  /** @returns why the result was not taken: it is the second, the device holds no such command, or the outcomes' buffer is full */
  answer(result: ControlResult, socket: CommandSocket): 'taken' | 'repeated' | 'unknown' | 'overloaded' {
    const { outcomes, metrics } = this.#options;
    const pending = this.#pending.get(result.id);
    if (pending === undefined) return this.#isAnswered(result.id, socket) ? 'repeated' : 'unknown';
    if (!this.#holds(pending.deviceId, socket, pending)) return 'unknown';
    const isReported = result.ok
      ? outcomes.report(pending, 'succeeded', result.result === undefined ? {} : { result: result.result })
      : outcomes.report(pending, 'failed', { error: result.error ?? { code: 'failed' } });
    if (!isReported) return 'overloaded';
    metrics.commandAnswers.inc({ answer: result.ok ? 'succeeded' : 'failed' });
    metrics.commandSeconds.observe((performance.now() - pending.sentAt) / 1_000);
    this.#forget(pending);
    this.#noteAnswered(pending);
    return 'taken';
  }

  /** The socket has closed. Commands that its device has not said it received are reported, and may be sent again. */
  ended(socket: CommandSocket): void {
    const commands = this.#ofSocket.get(socket);
    if (commands === undefined) return;
    this.#ofSocket.delete(socket);
    for (const pending of commands) {
      pending.socket = undefined;
      this.#ended.add(pending);
      if (!pending.isDelivered) this.#reportAgain(pending);
    }
    for (const oldest of this.#ended) {
      if (this.#ended.size <= this.#options.pendingMax) break;
      this.#forget(oldest);
    }
    this.#count();
  }

  #reportAgain(command: PendingCommand): void {
    const { outcomes } = this.#options;
    if (command.isDelivered) outcomes.report(command, 'delivered');
    else if (command.socket !== undefined) outcomes.report(command, 'sent');
    else outcomes.report(command, 'not-here', { error: { code: notHereCodes.sessionEnded } });
  }

  #overloadOf({ outbound }: CommandSocket): string | undefined {
    const { pendingMax, queuedBytesMax, metrics } = this.#options;
    if (this.#openCount >= pendingMax) {
      metrics.limitsReached.inc({ limit: 'commandsPendingMax' });
      return `too many commands of this instance have no result yet (COMMANDS_PENDING_MAX is ${pendingMax})`;
    }
    if (outbound.queuedBytes <= queuedBytesMax) return undefined;
    return `the device has not read ${outbound.queuedBytes} bytes that were sent to it`;
  }

  #send({ id, deviceId, attempt, replyTo, deadlineAt, ...dispatch }: CommandDispatch, socket: CommandSocket): void {
    const { outcomes, metrics } = this.#options;
    const earlier = this.#pending.get(id);
    if (earlier !== undefined) this.#forget(earlier);
    socket.outbound.send({
      type: 'control',
      id,
      ...(socket.claims.role === 'device' ? {} : { deviceId }),
      command: dispatch.command,
      args: dispatch.args,
      expiresAt: new Date(deadlineAt).toISOString(),
      attempt,
    });
    const sentAt = performance.now();
    const remainingMs = Math.min(Math.max(deadlineAt - Date.now(), 0), deadlineMsMax);
    const forgetAt = sentAt + remainingMs + lateResultMs;
    const pending = { id, deviceId, attempt, replyTo, socket, sentAt, forgetAt, isDelivered: false };
    this.#pending.set(id, pending);
    const ofSocket = this.#ofSocket.get(socket);
    if (ofSocket === undefined) this.#ofSocket.set(socket, new Set([pending]));
    else ofSocket.add(pending);
    this.#count();
    metrics.commands.inc({ result: 'sent' });
    outcomes.report(pending, 'sent');
  }

  #holds(deviceId: string, socket: CommandSocket, pending?: PendingCommand): boolean {
    return pending?.socket === socket || this.#options.holders.find(deviceId) === socket;
  }

  #isAnswered(id: string, socket: CommandSocket): boolean {
    const answered = this.#answered.get(id);
    return answered !== undefined && this.#holds(answered.deviceId, socket);
  }

  #noteAnswered(answered: PendingCommand): void {
    answered.isDelivered = true;
    answered.socket = undefined;
    this.#answered.set(answered.id, answered);
    if (this.#answered.size <= answeredMax) return;
    const [oldest] = this.#answered.keys();
    this.#answered.delete(oldest!);
  }

  #forget(pending: PendingCommand): void {
    this.#pending.delete(pending.id);
    this.#ended.delete(pending);
    this.#count();
    if (pending.socket === undefined) return;
    const ofSocket = this.#ofSocket.get(pending.socket);
    ofSocket?.delete(pending);
    if (ofSocket?.size === 0) this.#ofSocket.delete(pending.socket);
  }

  get #openCount(): number {
    return this.#pending.size - this.#ended.size;
  }

  #count(): void {
    this.#options.metrics.commandsPending.set(this.#openCount);
  }

  #forgetOld(): void {
    const now = performance.now();
    for (const pending of this.#pending.values()) if (pending.forgetAt <= now) this.#forget(pending);
  }
}
