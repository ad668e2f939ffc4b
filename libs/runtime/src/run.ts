import { setFlagsFromString } from 'node:v8';
import { ConfigurationError, type Environment } from './configuration.ts';
import { createLogger, type Logger, type LogLevel } from './logger.ts';
import type { Tracer } from './trace-context.ts';
import { startTracing } from './tracing.ts';

interface Running {
  /** Drains and releases everything; settles when nothing is left in flight. */
  stop(): Promise<void>;
}

interface RunnableConfiguration {
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'pretty';
  readonly drainTimeoutMs: number;
}

export interface Service<C extends RunnableConfiguration> {
  readonly name: string;
  readonly environment: Environment;
  /** Reads the environment; a ConfigurationError is printed whole and ends the process with exit code 1. */
  readonly configure: (environment: Environment) => C;
  readonly start: (context: {
    readonly config: C;
    readonly logger: Logger;
    readonly tracer: Tracer;
  }) => Promise<Running>;
}

/**
 * Runs a service for the life of the process: the one place that owns signals, the drain deadline and the exit code.
 *
 * The first SIGTERM or SIGINT drains and exits with 0, or with 1 when `drainTimeoutMs` passes or draining fails.
 * The second signal exits with 1 at once. A failing start, an uncaught exception and an unhandled rejection exit with 1.
 */
export async function runService<C extends RunnableConfiguration>({
  name,
  environment,
  configure,
  start,
}: Service<C>): Promise<void> {
  keepReadingsYoung();
  const { config, logger } = await prepare(name, () => configure(environment));
  exitOnUncaught(logger);
  const signal = firstSignal();
  const tracing = await startTracing({ serviceName: name, environment, logger });
  const starting = start({ config, logger, tracer: tracing.tracer });
  starting.catch((error: unknown) => exit(logger, 1, { err: error }, 'could not start'));
  const received = await signal;

  logger.info({ signal: received, drainTimeoutMs: config.drainTimeoutMs }, 'draining');
  process.on('SIGTERM', () => exit(logger, 1, {}, 'second signal: stopped without draining'));
  process.on('SIGINT', () => exit(logger, 1, {}, 'second signal: stopped without draining'));
  setTimeout(() => {
    exit(logger, 1, { drainTimeoutMs: config.drainTimeoutMs }, 'drain deadline passed: work in flight was dropped');
  }, config.drainTimeoutMs);
  try {
    const running = await starting;
    await running.stop();
    await tracing.stop();
    exit(logger, 0, {}, 'drained');
  } catch (error) {
    exit(logger, 1, { err: error }, 'draining failed');
  }
}

/**
 * Where V8 has seen objects live long, it allocates their like in the old generation from then on, and seldom unlearns it. So after one burst,
 * with readings waiting, each later one would be garbage that only a collection of the whole heap finds: a pause of 30 to 50 ms every two
 * seconds, in which acks wait (docs/performance/profiles.md).
 */
function keepReadingsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}

async function prepare<C extends RunnableConfiguration>(
  name: string,
  configure: () => C,
): Promise<{ config: C; logger: Logger }> {
  try {
    const config = configure();
    return {
      config,
      logger: await createLogger({ name, level: config.logLevel, format: config.logFormat }),
    };
  } catch (error) {
    const logger = await createLogger({ name });
    if (error instanceof ConfigurationError)
      return exit(logger, 1, { problems: error.problems }, 'the configuration is not usable');
    return exit(logger, 1, { err: error }, 'could not read the configuration');
  }
}

function firstSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
}

function exitOnUncaught(logger: Logger): void {
  process.on('uncaughtException', (error) => exit(logger, 1, { err: error }, 'uncaught exception'));
  process.on('unhandledRejection', (reason) => exit(logger, 1, { err: reason }, 'unhandled rejection'));
}

function exit(logger: Logger, code: 0 | 1, fields: object, message: string): never {
  if (code === 0) logger.info(fields, message);
  else logger.fatal(fields, message);
  process.exit(code);
}
