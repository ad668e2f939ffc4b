import { BackingServiceUnavailable } from '@fleetwire/platform/servers/unavailable';
import { type LaunchOptions, launch } from './launch.ts';
import { terminal } from './terminal.ts';
import { Unlaunchable } from './unlaunchable.ts';
import { welcome } from './welcome.ts';

/** Ctrl-C at a terminal reaches us more than once: from the terminal itself and through npm. That still is one Ctrl-C. */
const sameSignalMs = 1_000;

/**
 * Launches, waits for a signal or for something that cannot be mended, and stops everything again.
 * @param onSignal registers what hears of every signal
 * @returns the exit code: 0 after an orderly stop, 1 when something failed or the stop was forced
 */
export async function runLauncher(
  options: LaunchOptions,
  onSignal: (listener: (signal: NodeJS.Signals) => void) => void,
): Promise<number> {
  const ask = new AbortController();
  const force = new AbortController();
  const heard = new Promise<string>((resolve) => {
    let lastAt = 0;
    onSignal((signal) => {
      const isNew = Date.now() - lastAt > sameSignalMs;
      lastAt = Date.now();
      if (isNew && ask.signal.aborted) force.abort();
      ask.abort();
      resolve(signal);
    });
  });

  try {
    const running = await launch(options, { interrupted: ask.signal, forced: force.signal });
    terminal.print(welcome(running));
    const failure = await Promise.race([heard.then(() => undefined), running.failed]);
    terminal.print(failure === undefined ? 'Draining; Ctrl-C again forces.' : `Stopping everything: ${failure}`);
    await running.stop();
    terminal.print(`Stopped. The data stays in ${options.data}.`);
    return failure === undefined && !force.signal.aborted ? 0 : 1;
  } catch (error) {
    if (ask.signal.aborted) {
      terminal.print('Stopped before everything ran.');
      return 1;
    }
    if (!(error instanceof BackingServiceUnavailable || error instanceof Unlaunchable)) throw error;
    terminal.print(error.message);
    return 1;
  }
}
