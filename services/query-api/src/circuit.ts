import type { Logger } from '@fleetwire/runtime/logger';
import { Gauge, type Registry } from '@fleetwire/runtime/metrics';
import { Problem, unavailable } from '@fleetwire/runtime/problem';
import type { Database } from '@fleetwire/store/database';
import { classifyFailure, isStatementTimeout, PoolWaitError } from '@fleetwire/store/failure';
import CircuitBreaker from 'opossum';

type CircuitState = 'closed' | 'half-open' | 'open';

export interface Circuit {
  readonly name: string;
  state(): CircuitState;
  /**
   * Runs work that ends when its signal aborts. Validate the request before: only the dependency may fail in here.
   * @throws {Problem} 503 with Retry-After when the dependency is unavailable, or the circuit is open or full
   */
  run<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  stop(): void;
}

export interface CircuitOptions {
  readonly name: string;
  /** What the circuit protects; part of the 503's detail. */
  readonly dependency?: string;
  /** Work is aborted after this time, which counts as a failure. */
  readonly timeoutMs: number;
  /** How long an open circuit waits before it lets one call try. */
  readonly resetMs: number;
  /** Fewer calls than this within the window never open the circuit. */
  readonly volumeThreshold: number;
  readonly windowMs: number;
  /** Calls running or waiting for a connection; more are refused immediately. */
  readonly inFlightMax: number;
  /** Whether an error is an outage; any other error is an answer and does not open the circuit. */
  readonly isOutage: (error: unknown) => boolean;
  readonly logger: Logger;
  readonly gauge: Gauge<'name'>;
}

type Outcome = { readonly value: unknown } | { readonly answered: unknown };
type Work = (signal: AbortSignal) => Promise<unknown>;

export function createCircuit(options: CircuitOptions): Circuit {
  const { name, timeoutMs, resetMs, volumeThreshold, windowMs, inFlightMax, isOutage, logger, gauge } = options;
  const { dependency = 'the database' } = options;
  let inFlight = 0;
  let openedAt = 0;

  const attempt = async (work: Work): Promise<Outcome> => {
    // `AbortSignal.timeout` would make an error for each call, long after its answer.
    const ending = new AbortController();
    const { signal } = ending;
    const end = (): void => ending.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
    const timer = setTimeout(end, timeoutMs);
    try {
      return { value: await work(signal) };
    } catch (error) {
      if (isOutage(error) || (signal.aborted && error === signal.reason)) throw error;
      return { answered: error };
    } finally {
      clearTimeout(timer);
    }
  };
  const breaker = new CircuitBreaker(attempt, {
    name,
    timeout: false, // the signal of each call ends it; opossum's timeout would leave the work running
    resetTimeout: resetMs,
    volumeThreshold,
    errorThresholdPercentage: 50,
    rollingCountTimeout: windowMs,
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
  });
  const state = (): CircuitState => (breaker.halfOpen ? 'half-open' : breaker.opened ? 'open' : 'closed');
  const onChange = (): void => {
    if (breaker.opened) openedAt = Date.now();
    gauge.set({ name }, stateNumber[state()]);
    logger.warn({ circuit: name, state: state() }, 'circuit changed');
  };
  gauge.set({ name }, stateNumber.closed);
  for (const event of ['open', 'halfOpen', 'close'] as const) breaker.on(event as 'open', onChange);

  const fire = async (work: Work): Promise<Outcome> => {
    try {
      return await breaker.fire(work);
    } catch (error) {
      const isOpen = (error as { code?: unknown }).code === 'EOPENBREAKER';
      if (!isOpen) logger.warn({ circuit: name, err: error }, 'call failed');
      const retryAfterMs = isOpen ? openedAt + resetMs - Date.now() : resetMs;
      throw unavailable(
        isOpen ? `${name}: ${dependency} is unavailable` : `${name}: ${dependency} did not answer`,
        retryAfterMs,
      );
    }
  };

  return {
    name,
    state,
    run: async <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
      if (inFlight >= inFlightMax) throw unavailable(`${name}: ${inFlightMax} calls are already in flight`, 1_000);
      inFlight += 1;
      try {
        const outcome = await fire(work);
        if ('answered' in outcome) throw outcome.answered;
        return outcome.value as T;
      } finally {
        inFlight -= 1;
      }
    },
    stop: () => breaker.shutdown(),
  };
}

/** A pool of connections behind a circuit. */
export interface GuardedDatabase {
  /**
   * Calls a function of the store with this database and the circuit's signal: `history.run(readings, { deviceId, … })`. A signal among the
   * options ends the call, too.
   * @throws {Problem} 503, as `Circuit.run` does; 504 when the query takes too long
   */
  run<O, R>(
    query: (database: Database, options: O & { readonly signal: AbortSignal }) => Promise<R>,
    options: NoInfer<O>,
  ): Promise<R>;
}

export function guardDatabase(database: Database, circuit: Circuit): GuardedDatabase {
  return {
    run: async (query, options) => {
      try {
        const { signal: own } = options as { readonly signal?: AbortSignal };
        return await circuit.run((signal) =>
          query(database, { ...options, signal: own === undefined ? signal : AbortSignal.any([signal, own]) }),
        );
      } catch (error) {
        throw overloadProblem(error) ?? error;
      }
    },
  };
}

/** The answer to a call that the database was too slow for, although it works: not an outage, and the caller can do something. */
function overloadProblem(error: unknown): Problem | undefined {
  if (error instanceof PoolWaitError)
    return unavailable('All database connections for this kind of query are in use; try again', 1_000);
  if (!isStatementTimeout(error)) return undefined;
  const detail =
    'The query took too long and was cancelled (STATEMENT_TIMEOUT_MS); request less: a shorter time range, a smaller limit, or no metrics';
  return new Problem(504, 'Gateway timeout', { detail });
}

/**
 * Whether Postgres is unreachable or not ready. Neither a query that takes too long nor a wait for a free connection is an outage: one
 * caller can cause both.
 */
export function isDatabaseOutage(error: unknown): boolean {
  return !(error instanceof PoolWaitError) && !isStatementTimeout(error) && classifyFailure(error) === 'hold';
}

const stateNumber = { closed: 0, 'half-open': 1, open: 2 } as const;

export function circuitGauge(registry: Registry): Gauge<'name'> {
  return new Gauge({
    name: 'fleetwire_circuit_state',
    help: 'State of the circuit: 0 closed, 1 half-open, 2 open',
    labelNames: ['name'],
    registers: [registry],
  });
}
