import { setFlagsFromString } from 'node:v8';
import { ConfigurationError, type Environment } from './configuration.ts';
import { createLogger, type Logger, type LogLevel } from './logger.ts';
import type { Tracer } from './trace-context.ts';
import { startTracing } from './tracing.ts';

interface Running {
  /** Drains and releases everything; settles when no work is in flight. */
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
  /** Reads the environment. A `ConfigurationError` is logged with all its problems and ends the process with exit code 1. */
  readonly configure: (environment: Environment) => C;
  readonly start: (context: {
    readonly config: C;
    readonly logger: Logger;
    readonly tracer: Tracer;
  }) => Promise<Running>;
}

/**
 * Runs a service until the process ends. Signals, the drain deadline and the exit code are handled here and nowhere else.
 *
 * The first SIGTERM or SIGINT drains and exits with 0, or with 1 when `drainTimeoutMs` passes or draining fails.
 * The second signal exits with 1 immediately. A failing start, an uncaught exception and an unhandled rejection exit with 1.
 */
export async function runService<C extends RunnableConfiguration>({
  name,
  environment,
  configure,
  start,
}: Service<C>): Promise<void> {
  disablePretenuring();
  const { config, logger } = await prepare(name, () => configure(environment));
  exitOnUncaught(logger);
  const signal = firstSignal();
  const tracing = await startTracing({ serviceName: name, environment, logger });
  const starting = start({ config, logger, tracer: tracing.tracer });
  starting.catch((error: unknown) => exit(logger, 1, { err: error }, 'could not start'));
  const received = await signal;

  logger.info({ signal: received, drainTimeoutMs: config.drainTimeoutMs }, 'draining');
  process.on('SIGTERM', () => exit(logger, 1, {}, 'second signal: exiting without draining'));
  process.on('SIGINT', () => exit(logger, 1, {}, 'second signal: exiting without draining'));
  setTimeout(() => {
    exit(logger, 1, { drainTimeoutMs: config.drainTimeoutMs }, 'drain deadline exceeded: work in flight was abandoned');
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
 * V8's allocation-site pretenuring allocates objects directly in the old generation once objects from the same place in the code have
 * survived, and rarely reverts. After one burst of queued readings every later reading would become old-generation garbage, which
 * only a major collection frees: a pause of 30 to 50 ms every two seconds, during which no ack is sent (docs/performance/profiles.md).
 */
function disablePretenuring(): void {
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
      return exit(logger, 1, { problems: error.problems }, 'invalid configuration');
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
