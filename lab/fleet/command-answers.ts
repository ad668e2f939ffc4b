import type { ControlMessage } from '@fleetwire/contracts/command-frames';

/** As many as a device is asked to keep: docs/device-protocol.md, "Commands". */
const resultsMax = 100;

/** A simulated device's answers to commands. It carries out each id once, and gives a repeated one the same result. */
export class CommandAnswers {
  readonly #results = new Map<string, string>();

  /** Every command succeeds with its arguments as result, but the command `fail`. @returns the frames to send */
  answer({ id, command, args }: ControlMessage): { readonly frames: readonly string[]; readonly isRepeated: boolean } {
    const known = this.#results.get(id);
    const received = JSON.stringify({ type: 'control-received', id });
    if (known !== undefined) return { frames: [received, known], isRepeated: true };
    const outcome =
      command === 'fail'
        ? { ok: false, error: { code: 'simulated', message: 'simulated devices fail this command' } }
        : { ok: true, result: args };
    const result = JSON.stringify({ type: 'control-result', id, ...outcome });
    this.#results.set(id, result);
    const [oldest] = this.#results.keys();
    if (this.#results.size > resultsMax) this.#results.delete(oldest!);
    return { frames: [received, result], isRepeated: false };
  }
}
