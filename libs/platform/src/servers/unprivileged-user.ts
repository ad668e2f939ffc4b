import { spawnSync } from 'node:child_process';
import { StartError } from '../processes/program.ts';

/** How to run a program as a user other than root: what to put before its command line, and the owner of its files. */
export interface UnprivilegedUser {
  readonly prefix: string[];
  readonly uid: number;
  readonly gid: number;
}

const userName = 'postgres';

/**
 * Postgres refuses to run as root. A process that is root therefore runs it as the user `postgres`, which is created if it does not exist.
 * That user cannot enter folders below, for instance, /root (mode 0700). Instead of opening those to all users, the server gets
 * one capability, to read and enter any folder (capabilities(7)); where the machine has dropped it, the wider one that
 * containers usually keep. `command` is run once in `folder` to prove that the choice works.
 * @returns undefined when this process is not root
 */
export function unprivilegedUserFor(folder: string, command: string[]): UnprivilegedUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = existingUser() ?? createdUser();
  const setpriv = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  const choices = [
    setpriv,
    ...['+dac_read_search', '+dac_override'].map((capability) => [
      ...setpriv,
      `--inh-caps=${capability}`,
      `--ambient-caps=${capability}`,
      // access(2), by which initdb looks for its programs, otherwise ignores the capabilities of a user who is not root.
      '--securebits=+no_setuid_fixup',
    ]),
  ];
  const prefix = choices.find((choice) => {
    // A shell in between, because setpriv itself still has root's capabilities while it looks up what it executes.
    const [program, ...args] = [...choice, 'sh', '-c', 'cd "$0" && exec "$@"', folder, ...command];
    return spawnSync(program!, args, { stdio: 'ignore' }).status === 0;
  });
  if (!prefix) {
    throw new StartError(
      `Postgres must not run as root, and the user ${userName} cannot enter ${folder}: use a folder that it can enter (--data DIR) or give DATABASE_URL.`,
    );
  }
  return { prefix, uid, gid };
}

function existingUser(): { uid: number; gid: number } | undefined {
  const ids = ['-u', '-g'].map((flag) => spawnSync('id', [flag, userName], { encoding: 'utf8' }));
  if (ids.some(({ status }) => status !== 0)) return undefined;
  const [uid, gid] = ids.map(({ stdout }) => Number(stdout));
  return { uid: uid!, gid: gid! };
}

function createdUser() {
  spawnSync('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', userName], {
    stdio: 'ignore',
  });
  const user = existingUser();
  if (!user) {
    throw new StartError(
      `Postgres must not run as root, and the user ${userName} could not be created: run this as another user or give DATABASE_URL.`,
    );
  }
  return user;
}
