import { type LauncherOptions, launcherCommand } from './command.ts';
import { runLauncher } from './run-launcher.ts';

const { INIT_CWD: calledFrom = process.cwd(), ...env } = process.env;
const options = launcherCommand(calledFrom).parse(process.argv).opts<LauncherOptions>();
process.exitCode = await runLauncher({ ...options, env }, (listener) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => listener(signal));
});
