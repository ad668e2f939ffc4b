import fc from 'fast-check';
import type { Finding, Subject } from './subject.ts';

/** A finding with its input made as small as could be. */
export interface Failure extends Finding {
  readonly subject: string;
  /** With both, `--only SUBJECT --seed SEED --path PATH` sends this input again. */
  readonly seed: number;
  readonly path: string;
}

/** Ends the run: after a number of inputs, at a time, or early. */
export class Budget {
  readonly #inputsMax: number;
  readonly #endsAt: number;
  readonly #signal: AbortSignal;
  #sent = 0;

  constructor({
    inputsMax,
    durationMs,
    signal,
  }: {
    readonly inputsMax: number;
    readonly durationMs: number;
    readonly signal: AbortSignal;
  }) {
    this.#inputsMax = inputsMax;
    this.#endsAt = performance.now() + durationMs;
    this.#signal = signal;
  }

  get sent(): number {
    return this.#sent;
  }

  get isSpent(): boolean {
    return this.#signal.aborted || this.#sent >= this.#inputsMax || performance.now() >= this.#endsAt;
  }

  spend(inputs: number): void {
    this.#sent += inputs;
  }
}

const runsPerRound = 100;
/** How long an input is made smaller: each attempt at a hang takes seconds. */
const shrinkingMsMax = 15_000;

export interface ExploreOptions {
  readonly seed: number;
  /** Repeats the one input that it leads to. */
  readonly path?: string | undefined;
  readonly budget: Budget;
  /** Signatures that were reported: shared by all subjects, so that a defect is minimised once. */
  readonly known: Set<string>;
}

/** Sends inputs until the budget is spent. Each new finding is minimised, then the search goes on. */
export async function explore<Input>(
  subject: Subject<Input>,
  { seed, path, budget, known }: ExploreOptions,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  for (let round = 0; !budget.isSpent; round += 1) {
    let smallest: Finding | undefined;
    let shrinkingEndsAt = Infinity;
    const property = fc.asyncProperty(subject.inputs, async (input) => {
      if (smallest === undefined ? budget.isSpent : performance.now() > shrinkingEndsAt) return;
      const { sent, finding } = await subject.run(input);
      budget.spend(sent);
      if (finding === undefined) return;
      if (smallest === undefined ? known.has(finding.signature) : finding.signature !== smallest.signature) return;
      if (smallest === undefined) shrinkingEndsAt = performance.now() + shrinkingMsMax;
      known.add(finding.signature);
      smallest = finding;
      throw new Error(finding.what);
    });
    const roundSeed = (seed + round) | 0;
    const repeated = path === undefined ? {} : { path, endOnFailure: true };
    const { failed, counterexamplePath, errorInstance } = await fc.check(property, {
      seed: roundSeed,
      numRuns: path === undefined ? runsPerRound : 1,
      ...repeated,
    });
    if (failed && smallest === undefined) throw errorInstance;
    if (smallest !== undefined)
      failures.push({ ...smallest, subject: subject.name, seed: roundSeed, path: counterexamplePath ?? '' });
    if (path !== undefined) break;
  }
  return failures;
}
