import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { runStep } from './step.mjs';
import { SetupProblem } from './toolchain.mjs';

/** A Chromium of this machine; undefined where there is none. `CHROMIUM` names another. */
export function findBrowser(env = process.env) {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const candidates = env.CHROMIUM
    ? [env.CHROMIUM]
    : folders.flatMap((folder) => names.map((name) => join(folder, name)));
  return candidates.find((path) => existsSync(path));
}

/** Debian's Chromium, as root where it is missing. Elsewhere the tests in a browser are skipped, and say what is missing. */
export async function installBrowser() {
  const isRoot = process.getuid?.() === 0;
  if (findBrowser() !== undefined || process.env.CHROMIUM || !isRoot || !existsSync('/usr/bin/apt-get')) return;
  const script = 'apt-get -qq update && apt-get -qq install --no-install-recommends chromium';
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await runStep(
      "installing Debian's chromium, for the tests in a browser",
      'sh',
      ['-c', script],
      { env },
      (_, output) => output,
    );
  } catch (error) {
    if (!(error instanceof SetupProblem)) throw error;
    process.stderr.write(`setup: chromium is not installed (${error.message.trim().split('\n').at(-1)})\n`);
  }
}
