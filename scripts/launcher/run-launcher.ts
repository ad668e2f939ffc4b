import { StartError } from '@fleetwire/platform/processes/program';
import { type LaunchOptions, launch } from './launch.ts';
import { terminal } from './terminal.ts';
import { welcome } from './welcome.ts';

/** One Ctrl-C arrives more than once: from the terminal itself and through npm. Signals this close together count as one. */
const sameSignalMs = 1_000;

/**
 * Launches, waits for a signal or for a failure that restarts do not mend, and stops everything again.
 * @param onSignal registers a listener for every signal
 * @returns the exit code: 0 after an orderly stop, 1 when something failed or the stop was forced
 */
export async function runLauncher(
  options: LaunchOptions,
  onSignal: (listener: (signal: NodeJS.Signals) => void) => void,
): Promise<number> {
  const interruption = new AbortController();
  const force = new AbortController();
  const interrupted = new Promise<void>((resolve) => {
    let lastAt = 0;
    onSignal(() => {
      const isNew = Date.now() - lastAt > sameSignalMs;
      lastAt = Date.now();
      if (isNew && interruption.signal.aborted) force.abort();
      interruption.abort();
      resolve();
    });
  });

  try {
    const running = await launch(options, { interrupted: interruption.signal, forced: force.signal });
    terminal.print(welcome(running));
    const failure = await Promise.race([interrupted.then(() => undefined), running.failed]);
    terminal.print(
      failure === undefined ? 'Draining. Press Ctrl-C again to force.' : `Stopping everything: ${failure}`,
    );
    await running.stop();
    terminal.print(`Stopped. The data is kept in ${options.data}.`);
    return failure === undefined && !force.signal.aborted ? 0 : 1;
  } catch (error) {
    if (interruption.signal.aborted) {
      terminal.print('Stopped before everything was running.');
      return 1;
    }
    if (!(error instanceof StartError)) throw error;
    terminal.print(error.message);
    return 1;
  }
}
