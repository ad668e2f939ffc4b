import { isDeepStrictEqual } from 'node:util';
import type { Breach } from './audit.ts';
import type { Answer, CommandJournal, Delivery } from './command-journal.ts';
import type { SentCommand, ShownCommand } from './command-operator.ts';

export interface CommandFigures {
  /** As query-api shows them, by state. */
  readonly states: Readonly<Record<string, number>>;
  /** Written to a socket more than once, of the mode `when-online`. */
  readonly deliveredAgain: number;
  /** Reached a device, and ended without its answer. */
  readonly unanswered: number;
  readonly lateResults: number;
}

export interface CommandEvidence {
  readonly sent: readonly SentCommand[];
  readonly shown: readonly ShownCommand[];
  /** Commands of each job by state, as its summary counts them. */
  readonly jobs: ReadonlyMap<string, Readonly<Record<string, number>>>;
  readonly journals: readonly CommandJournal[];
}

const failuresOfPlatform = new Set(['device-unknown', 'device-offline', 'too-many-attempts']);
const attemptsMax = 10;
const shownMax = 20;
/** Both times are those at which a transaction began. It may then wait for the other one, and for a Postgres that hangs, for 3 s at most. */
const transactionMs = 5_000;

/** Compares what operators were told and are shown of commands with what reached the devices, and what these answered. Pure. */
export function auditCommands({ sent, shown, jobs, journals }: CommandEvidence): {
  breaches: Breach[];
  figures: CommandFigures;
} {
  const found = new Map<string, string[]>();
  const check = (rule: string, isBroken: boolean, what: () => string) => {
    if (isBroken) found.set(rule, [...(found.get(rule) ?? []), what()]);
  };
  const byKey = new Map(sent.map((command) => [command.key, command]));
  const shownIds = new Set(shown.map(({ id }) => id));
  const deliveriesOf = Map.groupBy(
    journals.flatMap(({ deviceId, deliveries }) => deliveries.map((delivery) => ({ deviceId, delivery }))),
    ({ delivery }) => delivery.id,
  );
  const answersOf = Map.groupBy(
    journals.flatMap(({ answers }) => answers),
    ({ id }) => id,
  );
  const confirmed = new Set(journals.flatMap((journal) => [...journal.confirmed]));

  for (const command of sent) {
    const { key, status, code, id, deviceId, cancelStatus } = command;
    const mine = shown.filter(({ args }) => keyOf(args) === key);
    const isAccepted = status === 200 || status === 202;
    const name = () =>
      `${key} (${id ?? 'no id'}) for ${deviceId ?? 'all devices'}, answered with ${status} ${code ?? ''}`;
    check('a call for a command was not answered', status === undefined, name);
    const isRefused = status !== undefined && !isAccepted && code !== 'device-offline';
    check('a valid command was refused', isRefused, name);
    check('an accepted command is not shown', isAccepted && mine.length === 0, name);
    check('more than one command of one key', deviceId !== undefined && mine.length > 1, name);
    const wrongDevice = new Set(mine.map((one) => one.deviceId)).size !== mine.length;
    check('a command to all devices is there twice for one of them', deviceId === undefined && wrongDevice, name);
    const states = id === undefined ? undefined : jobs.get(id);
    if (states !== undefined)
      check('the summary of a job differs from its commands', !isDeepStrictEqual(counted(mine), { ...states }), name);
    const isCancelled = mine[0]?.state === 'cancelled';
    check('cancelled, as the operator was told, but it is not', cancelStatus === 200 && !isCancelled, name);
    check('cancelled, though the operator was told that it was not', cancelStatus === 409 && isCancelled, name);
    check(
      'an operator who waited was told another end than is shown',
      command.told !== undefined && !isEndOf(command.told, mine[0]),
      () => `${name()}: told ${JSON.stringify(command.told)}, shown ${describe(mine[0])}`,
    );
  }

  for (const [id, deliveries] of deliveriesOf)
    check(
      'a device got a command that was never sent',
      !shownIds.has(id),
      () => `${id}: ${JSON.stringify(deliveries)}`,
    );

  for (const command of shown) {
    const request = byKey.get(String(keyOf(command.args)));
    const deliveries = (deliveriesOf.get(command.id) ?? []).map(({ delivery }) => delivery);
    const answers = answersOf.get(command.id) ?? [];
    const wrong = (rule: string, isBroken: boolean) =>
      check(rule, isBroken, () => `${describe(command)}; ${describeJournal(deliveries, answers)}`);
    wrong('shown, but never sent by the operator', request === undefined || !isRequested(command, request));
    wrong(
      'a device got the command of another, or with other content',
      (deliveriesOf.get(command.id) ?? []).some(
        ({ deviceId, delivery }) => deviceId !== command.deviceId || !isContentOf(command, delivery),
      ),
    );
    wrong('not ended after all faults were healed', command.finishedAt === null);
    wrong('of the mode now, and reached a socket more than once', command.mode === 'now' && deliveries.length > 1);
    wrong('the same attempt came twice on one connection', hasRepeatedAttempt(deliveries));
    wrong(
      'more attempts than there may be',
      command.attempts > attemptsMax || deliveries.some(({ attempt }) => attempt > command.attempts + 1),
    );
    wrong('refused when it was made, but sent', command.finishedAt === command.createdAt && deliveries.length > 0);
    wrong(
      'dispatched after its end',
      deliveries.some((delivery) => isDispatchedAfterEnd(command, delivery)),
    );
    wrong('shown as delivered, but its device neither confirmed nor answered it', isInventedDelivery(command));
    wrong('the result is not what the device answered', isAnswered(command) && !matches(answers, answerShown(command)));
    wrong(
      'the late result is not what the device answered',
      command.lateResult !== null && !matches(answers, command.lateResult),
    );
    wrong(
      'the answer of the device is not shown',
      answers.some((answer) => isKnownToEdge(answer, deliveries)) &&
        !isAnswered(command) &&
        command.lateResult === null,
    );
  }

  function isInventedDelivery({ id, deliveredAt }: ShownCommand): boolean {
    return deliveredAt !== null && !confirmed.has(id) && !answersOf.has(id);
  }

  const reached = shown.filter(({ id }) => deliveriesOf.has(id));
  return {
    breaches: [...found].map(([rule, all]) => ({
      rule: `${rule}: ${all.length} commands`,
      readings: 0,
      identities: all.slice(0, shownMax),
    })),
    figures: {
      states: counted(shown),
      deliveredAgain: reached.filter(({ id }) => deliveriesOf.get(id)!.length > 1).length,
      unanswered: reached.filter((command) => !isAnswered(command)).length,
      lateResults: shown.filter(({ lateResult }) => lateResult !== null).length,
    },
  };
}

function keyOf(args: unknown): unknown {
  return typeof args === 'object' && args !== null && 'key' in args ? args.key : undefined;
}

function counted(commands: readonly ShownCommand[]): Record<string, number> {
  const states: Record<string, number> = {};
  for (const { state } of commands) states[state] = (states[state] ?? 0) + 1;
  return states;
}

function isRequested(command: ShownCommand, request: SentCommand): boolean {
  return (
    command.command === request.command &&
    command.mode === request.mode &&
    command.timeoutMs === request.timeoutMs &&
    (request.deviceId === undefined ? command.job === request.id : command.deviceId === request.deviceId)
  );
}

function isContentOf(command: ShownCommand, delivery: Delivery): boolean {
  return command.command === delivery.command && isDeepStrictEqual(command.args, delivery.args);
}

function hasRepeatedAttempt(deliveries: readonly Delivery[]): boolean {
  return new Set(deliveries.map(({ connection, attempt }) => `${connection} ${attempt}`)).size < deliveries.length;
}

/** `expiresAt` of the frame is the time of the dispatch and the timeout. A frame that was dispatched before the end may come after it. */
function isDispatchedAfterEnd({ mode, timeoutMs, finishedAt }: ShownCommand, { expiresAt }: Delivery): boolean {
  if (mode === 'now' || finishedAt === null) return false;
  return Date.parse(expiresAt) - timeoutMs > Date.parse(finishedAt) + transactionMs;
}

/** The device ended it. */
function isAnswered({ state, error }: Pick<ShownCommand, 'state' | 'error'>): boolean {
  return state === 'succeeded' || (state === 'failed' && !failuresOfPlatform.has(error?.code ?? ''));
}

type AnswerContent = Pick<Answer, 'ok' | 'result' | 'error'>;

function answerShown({ state, result, error }: Pick<ShownCommand, 'state' | 'result' | 'error'>): AnswerContent {
  return state === 'succeeded' ? { ok: true, result } : { ok: false, error };
}

/** On a later connection, an answer may have reached another edge, which does not know the command. */
function isKnownToEdge({ isKept, connection }: Answer, deliveries: readonly Delivery[]): boolean {
  return isKept && deliveries.some((delivery) => delivery.connection === connection);
}

/** The first answer counts. */
function matches(answers: readonly Answer[], { ok, result, error }: AnswerContent): boolean {
  return answers.some(
    (answer) =>
      !answer.isSecond &&
      answer.ok === ok &&
      (ok ? isDeepStrictEqual(answer.result, result) : isDeepStrictEqual(answer.error, error)),
  );
}

/** What was told is the answer of the device, and the command may have ended without one at that moment: the answer is kept as late then. */
function isEndOf(told: Pick<ShownCommand, 'state' | 'result' | 'error'>, shown: ShownCommand | undefined): boolean {
  if (shown === undefined) return false;
  const { state, result, error } = shown;
  if (isDeepStrictEqual([told.state, told.result, told.error], [state, result, error])) return true;
  const { ok, result: toldResult, error: toldError } = answerShown(told);
  const late = shown.lateResult;
  return (
    isAnswered(told) &&
    !isAnswered(shown) &&
    late?.ok === ok &&
    isDeepStrictEqual(ok ? late.result : late.error, ok ? toldResult : toldError)
  );
}

function describe(command: ShownCommand | undefined): string {
  if (command === undefined) return 'none';
  const { id, deviceId, mode, state, attempts, result, error, lateResult, finishedAt } = command;
  return `${id} for ${deviceId}: ${JSON.stringify({ command: command.command, mode, state, attempts, result, error, lateResult, finishedAt })}`;
}

function describeJournal(deliveries: readonly Delivery[], answers: readonly Answer[]): string {
  const frames = deliveries.map(
    ({ attempt, connection, at, expiresAt }) =>
      `attempt ${attempt} on connection ${connection} at ${new Date(at).toISOString()}, to be answered until ${expiresAt}`,
  );
  return `frames: ${frames.join(', ') || 'none'}; answers: ${JSON.stringify(answers)}`;
}
