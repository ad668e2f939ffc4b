import type { Random } from '../fleet/random.ts';
import { CommandJournal, type ControlFrame } from './command-journal.ts';

/**
 * What a device does with a command; an operator names it. Each is carried out once, and gives a repeated frame the same answer.
 *
 * | Command | The device says that it has it | It answers |
 * | --- | --- | --- |
 * | `apply` | immediately | soon |
 * | `think` | later | later |
 * | `hurry` | never | soon |
 * | `fail` | immediately | soon, that it failed |
 * | `repeat` | immediately | soon, and immediately again with another answer |
 * | `mistake` | immediately | soon, after an answer with the id of a command of another device |
 * | `hear` | immediately | never |
 * | `reboot` | never: it ends its connection | when it gets the command again |
 * | `mute` | never | never |
 */
export const deviceCommands = [
  'apply',
  'think',
  'hurry',
  'fail',
  'repeat',
  'mistake',
  'hear',
  'reboot',
  'mute',
] as const;
export type DeviceCommand = (typeof deviceCommands)[number];

interface Behaviour {
  /** Bounds of the milliseconds until it says that it has the command, and from then until it answers; undefined: never. */
  readonly confirms?: readonly [number, number];
  readonly answers?: readonly [number, number];
}

const now = [0, 0] as const;
const soon = [0, 200] as const;
const behaviours: Readonly<Record<DeviceCommand, Behaviour>> = {
  apply: { confirms: now, answers: soon },
  think: { confirms: [300, 1_500], answers: [200, 1_500] },
  hurry: { answers: soon },
  fail: { confirms: now, answers: soon },
  repeat: { confirms: now, answers: soon },
  mistake: { confirms: now, answers: soon },
  hear: { confirms: now },
  reboot: {},
  mute: {},
};

/** The newest command that any device got. */
export interface NewestCommand {
  id?: string;
  deviceId?: string;
}

export interface DeviceCommandsOptions {
  readonly deviceId: string;
  readonly random: Random;
  /** Shared by the devices, so that one can answer the command of another. */
  readonly newest: NewestCommand;
  /** @returns whether the device is connected */
  readonly send: (frame: string) => boolean;
  /** Ends the connection; the device makes another one. */
  readonly disconnect: () => void;
}

type Outcome =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: { code: string } };

/** The part of a device that acts on commands, as docs/device-protocol.md describes it. */
export class DeviceCommands {
  readonly journal: CommandJournal;
  readonly #options: DeviceCommandsOptions;
  readonly #outcomes = new Map<string, Outcome>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #connection = 0;

  constructor(options: DeviceCommandsOptions) {
    this.#options = options;
    this.journal = new CommandJournal(options.deviceId);
  }

  connected(): void {
    this.#connection += 1;
  }

  receive(frame: ControlFrame): void {
    const { id, command, args, attempt, expiresAt } = frame;
    const { deviceId, newest } = this.#options;
    const { journal } = this;
    journal.deliveries.push({ id, command, args, attempt, expiresAt, connection: this.#connection, at: Date.now() });
    const { confirms, answers } = behaviours[command as DeviceCommand] ?? {};
    const other = newest.deviceId === deviceId ? undefined : newest.id;
    Object.assign(newest, { id, deviceId });
    const known = this.#outcomes.get(id);
    if (known !== undefined) {
      if (confirms !== undefined) this.#confirm(id);
      return this.#answer(id, known);
    }
    if (command === 'reboot') {
      this.#outcomes.set(id, this.#carryOut(frame));
      return this.#options.disconnect();
    }
    const confirmAfterMs = this.#within(confirms ?? now);
    if (confirms !== undefined) this.#after(confirmAfterMs, () => this.#confirm(id));
    if (answers === undefined) return;
    this.#after(confirmAfterMs + this.#within(answers), () => {
      const outcome = this.#outcomes.get(id) ?? this.#carryOut(frame);
      this.#outcomes.set(id, outcome);
      if (command === 'mistake' && other !== undefined) this.#send({ type: 'control-result', id: other, ...outcome });
      this.#answer(id, outcome);
      if (command === 'repeat') this.#answer(id, { ok: false, error: { code: 'second-answer' } }, true);
    });
  }

  /** Of an answer that the server could not take now. */
  refused(id: string, retryAfterMs: number): void {
    const outcome = this.#outcomes.get(id);
    if (outcome !== undefined) this.#after(retryAfterMs, () => this.#answer(id, outcome));
  }

  acknowledged(readingsSentAt: number): void {
    this.journal.acknowledged(this.#connection, readingsSentAt);
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #carryOut({ command, args }: ControlFrame): Outcome {
    const { deviceId } = this.#options;
    if (command === 'fail') return { ok: false, error: { code: 'jammed' } };
    return { ok: true, result: { deviceId, args, carriedOut: this.#outcomes.size + 1 } };
  }

  #confirm(id: string): void {
    if (this.#send({ type: 'control-received', id })) this.journal.confirmed.add(id);
  }

  #answer(id: string, outcome: Outcome, isSecond = false): void {
    if (this.#send({ type: 'control-result', id, ...outcome }))
      this.journal.answered({ id, ...outcome, isSecond, connection: this.#connection });
  }

  #send(frame: object): boolean {
    return this.#options.send(JSON.stringify(frame));
  }

  #within([min, max]: readonly [number, number]): number {
    return min + this.#options.random() * (max - min);
  }

  #after(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, ms);
    this.#timers.add(timer);
  }
}
