import { Problem } from '@fleetwire/runtime/problem';
import { createLastGood } from './last-good.ts';

export interface Answered {
  readonly answer: object;
  /** The same as JSON. */
  readonly text: string;
  /** Of an answer to a question, or of latest states: the JSON of all but `asOf`, `covers` and `cost`. */
  readonly values?: string | undefined;
}

/** The answer to a question, as it is sent to all that have asked it. */
interface QuestionAnswer extends Answered {
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface TimedAnswer extends QuestionAnswer {
  /** When its reading was begun, epoch milliseconds. */
  readonly asOf: number;
  /** The database is away: this is its last good answer. */
  readonly stale: boolean;
}

type Ask = (signal: AbortSignal) => Promise<QuestionAnswer>;

export interface QuestionAnswers {
  /**
   * @param key of the question, and of what its caller may read
   * @param signal of the caller
   * @param ask its signal aborts when no caller waits any more
   */
  answer(key: string, signal: AbortSignal, ask: Ask): Promise<TimedAnswer>;
}

interface Flight {
  readonly answered: Promise<TimedAnswer>;
  readonly ending: AbortController;
  callers: number;
}

const rememberedMax = 1_000;

/** Equal questions in flight share one execution. While the database is away, the last good answer to a question is told again. */
export function createQuestionAnswers({ bytesMax }: { readonly bytesMax: number }): QuestionAnswers {
  const flights = new Map<string, Flight>();
  const lastGood = createLastGood<QuestionAnswer>({
    entriesMax: rememberedMax,
    bytesMax,
    // The text, about as much for its values alone, and for the object.
    bytesOf: ({ text }) => 3 * text.length,
    // A question that takes too long (504) is not answered with another one's numbers.
    statuses: [503],
  });

  const begin = (key: string, ask: Ask): Flight => {
    const ending = new AbortController();
    const answered = lastGood
      .read(key, () => ask(ending.signal))
      .then(({ value, asOf, stale }) => ({ ...value, asOf, stale }));
    const flight = { answered, ending, callers: 0 };
    flights.set(key, flight);
    const end = (): void => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    answered.then(end, end);
    return flight;
  };

  /** Resolves with the flight; rejects when the caller is gone, and aborts the flight that is left without callers. */
  const board = async (key: string, flight: Flight, signal: AbortSignal): Promise<TimedAnswer> => {
    signal.throwIfAborted();
    const gone = Promise.withResolvers<never>();
    const leave = (): void => {
      flight.callers -= 1;
      if (flight.callers === 0) {
        if (flights.get(key) === flight) flights.delete(key);
        flight.ending.abort(signal.reason);
      }
      gone.reject(signal.reason as Error);
    };
    flight.callers += 1;
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([flight.answered, gone.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
    }
  };

  const fly = async (key: string, signal: AbortSignal, ask: Ask): Promise<TimedAnswer> => {
    const known = flights.get(key);
    if (known === undefined) return board(key, begin(key, ask), signal);
    try {
      return await board(key, known, signal);
    } catch (error) {
      // The limit of the caller that came first is not that of this one.
      if (error instanceof Problem && error.status === 429) return fly(key, signal, ask);
      throw error;
    }
  };

  return { answer: fly };
}
