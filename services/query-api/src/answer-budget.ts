import { type Counter, Gauge, type Registry } from '@fleetwire/runtime/metrics';
import { unavailable } from '@fleetwire/runtime/problem';

/** Bounds the memory that answers take, over all calls. */
export interface AnswerBudget {
  /** For one call, or one execution that several calls share; its bytes are counted until `release`. */
  open(): AnswerReservation;
}

export interface AnswerReservation {
  /** @throws {Problem} 503 when the answers in flight would take more than the budget */
  readonly reserve: (bytes: number) => void;
  /** Counts the whole answer of at least this many bytes; the answer exists already, so it is not refused. */
  count(answerBytes: number): void;
  readonly release: () => void;
  /** Releases, and counts nothing from then on: what is still read has no client any more. */
  readonly close: () => void;
}

export function createAnswerBudget({
  bytesMax,
  refused,
  registry,
}: {
  readonly bytesMax: number;
  readonly refused: Counter<'reason'>;
  readonly registry: Registry;
}): AnswerBudget {
  let inFlight = 0;
  const gauge = new Gauge({
    name: 'fleetwire_query_answer_bytes_in_flight',
    help: 'Bytes of answers that are being read from the database or sent; the bound is ANSWER_BYTES_IN_FLIGHT_MAX',
    registers: [registry],
  });
  return {
    open: () => {
      let own = 0;
      let isClosed = false;
      const add = (bytes: number): void => {
        if (isClosed) return;
        own += bytes;
        inFlight += bytes;
        gauge.set(inFlight);
      };
      return {
        reserve: (bytes) => {
          if (inFlight + bytes > bytesMax) {
            refused.inc({ reason: 'answer-bytes' });
            throw unavailable(
              `Answers of ${inFlight} bytes are in flight; at most ${bytesMax} (ANSWER_BYTES_IN_FLIGHT_MAX). ` +
                'Try again, or request less with limit, metrics or a shorter time range',
              1_000,
            );
          }
          add(bytes);
        },
        count: (answerBytes) => add(Math.max(0, answerBytes - own)),
        release: () => add(-own),
        close: () => {
          add(-own);
          isClosed = true;
        },
      };
    },
  };
}
