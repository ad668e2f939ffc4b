import { setTimeout as sleep } from 'node:timers/promises';
import type { LivePosition } from '@fleetwire/contracts/live-history';
import { type StoredAnswer, parseStoredAnswer, storedQuestionLimits } from '@fleetwire/contracts/stored-notice';
import type { Logger } from '@fleetwire/runtime/logger';
import { type AwaitedRun, type AwaitingStored } from './awaiting-stored.ts';
import { type Dead, numbersOf, type StoredAnswers } from './stored-answers.ts';

export interface StoredRecoveryOptions {
  readonly awaiting: AwaitingStored;
  /** Of this edge. */
  readonly instanceId: string;
  readonly queryApiUrl: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Envelopes of which nothing was heard for longer are asked for. */
  readonly lateMs?: number;
}

const lateMsDefault = 5_000;
const lookMs = 1_000;
const requestTimeoutMs = 10_000;
const requestsAtOnce = 4;
/** Sockets whose tokens are tried for the position in one round. */
const positionTokensMax = 5;
/** Questions in one round about envelopes that are not known to be settled: while nothing is stored, they would all be in vain. */
const openQuestionsMax = 20;
/** A dead letter is in the database soon after its envelope is settled; one that is not was kept as the bytes of a whole message. */
const unknownAfterMs = 60_000;

const unknownDead = { reason: 'unknown', message: 'kept as a dead letter that does not name the reading' };

type LateRun = ReturnType<AwaitingStored['late']>[number];

/**
 * Finds out what became of envelopes whose notice was lost: first by the settled position of this edge, then by asking for their readings,
 * each socket's with its own token. What is in neither list of the answer stays awaited: nothing is told as stored that is not.
 */
export async function recoverStoredNotices({
  awaiting,
  instanceId,
  queryApiUrl,
  logger,
  signal,
  lateMs = lateMsDefault,
}: StoredRecoveryOptions): Promise<void> {
  /** When an envelope was first seen as settled, by number. */
  const settledAt = new Map<number, number>();
  let isLate = false;

  const ask = async (path: string, token: string | undefined, body?: object): Promise<unknown> => {
    const response = await fetch(new URL(`/api/v1${path}`, queryApiUrl), {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]),
    });
    if (!response.ok) throw new Error(`query-api answered ${response.status}: ${await response.text()}`);
    return response.json();
  };

  /** With the token of any socket: one that query-api refuses does not keep the others from being answered. */
  const settledUpTo = async (late: readonly LateRun[]): Promise<number> => {
    const sockets = [...new Set(late.map(({ run }) => run.answers))].toSorted(() => Math.random() - 0.5);
    let failure: unknown;
    for (const { token } of sockets.slice(0, positionTokensMax)) {
      try {
        const { settled } = (await ask('/live/position', token)) as LivePosition;
        // Of a closed edge some numbers count as settled that are not; this one is alive, and opens again with its next report.
        return settled[instanceId] ?? 0;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };

  const askFor = async (late: readonly LateRun[]): Promise<void> => {
    const body = {
      runs: late.map(({ run: { stream, range } }) => ({
        deviceId: stream.deviceId,
        epoch: stream.epoch,
        first: range.first,
        last: range.last,
      })),
    };
    const answer = parseStoredAnswer(await ask('/live/stored', late[0]!.run.answers.token, body));
    if (!answer.ok) throw new Error(`query-api gave an answer that is not valid: ${answer.issue.message}`);
    for (const [index, { number, run }] of late.entries()) {
      const found = answer.value.runs[index];
      const isSettled = settledAt.has(number);
      const isUnknownDead = isSettled && performance.now() - settledAt.get(number)! > unknownAfterMs;
      const dead = found && deadOf(run, found, { isSettled, isUnknownDead });
      if (dead !== undefined) awaiting.found(run, dead);
    }
  };

  const round = async (late: readonly LateRun[]): Promise<void> => {
    const upTo = await settledUpTo(late);
    const now = performance.now();
    for (const { number } of late) if (number <= upTo && !settledAt.has(number)) settledAt.set(number, now);
    const settled = questionsOf(late.filter(({ number }) => number <= upTo));
    const open = questionsOf(late.filter(({ number }) => number > upTo)).slice(0, openQuestionsMax);
    const questions = [...settled, ...open].toSorted(() => Math.random() - 0.5).values();
    const failures: unknown[] = [];
    // A question that is refused, for its token or the limits of its caller, does not keep the others from being asked.
    const askAll = async (): Promise<void> => {
      for (const question of questions) await askFor(question).catch((error: unknown) => failures.push(error));
    };
    await Promise.all(Array.from({ length: requestsAtOnce }, askAll));
    if (failures.length > 0) throw failures[0];
  };

  for (; !signal.aborted; await sleep(isLate ? lateMs : lookMs, undefined, { signal }).catch(() => {})) {
    awaiting.sendCounts();
    const late = awaiting.late(lateMs);
    const numbers = new Set(late.map(({ number }) => number));
    for (const number of settledAt.keys()) if (!numbers.has(number)) settledAt.delete(number);
    if (!isLate && late.length > 0) logger.warn({ runs: late.length }, 'stored notices late; asking query-api');
    isLate = late.length > 0;
    if (!isLate) continue;
    await round(late).catch((error: unknown) => {
      if (!signal.aborted) logger.warn({ err: error }, 'failed to ask query-api what is stored; asking again');
    });
  }
}

/** For each socket, whose token they go with, one or several within the bounds of a question. */
function questionsOf(late: readonly LateRun[]): LateRun[][] {
  const { runsMax, numbersMax } = storedQuestionLimits;
  const bySocket = Map.groupBy(late, ({ run }): StoredAnswers => run.answers);
  const questions: LateRun[][] = [];
  for (const runs of bySocket.values()) {
    let question: LateRun[] = [];
    let numbers = 0;
    for (const one of runs) {
      const { first, last } = one.run.range;
      numbers += last - first + 1;
      if (question.length === 0 || question.length === runsMax || numbers > numbersMax) {
        question = [];
        questions.push(question);
        numbers = last - first + 1;
      }
      question.push(one);
    }
  }
  return questions;
}

/**
 * The dead readings of a run.
 * @returns undefined while a reading is not known to be stored or dead. A dead letter found before the envelope is settled may be of an
 * earlier attempt with the same number, whose next one may be stored.
 */
function deadOf(
  { stream, range }: AwaitedRun,
  { stored, dead }: StoredAnswer['runs'][number],
  { isSettled, isUnknownDead }: { readonly isSettled: boolean; readonly isUnknownDead: boolean },
): Dead[] | undefined {
  const letters = new Map(dead.map((letter) => [letter.seq, letter]));
  const { deviceId, epoch } = stream;
  const own: Dead[] = [];
  for (const seq of numbersOf(range)) {
    if (stored.some(([first, last]) => seq >= first && seq <= last)) continue;
    const letter = isSettled ? letters.get(seq) : undefined;
    if (letter === undefined && !isUnknownDead) return undefined;
    own.push({ deviceId, epoch, ...(letter ?? { seq, ...unknownDead }) });
  }
  return own;
}
