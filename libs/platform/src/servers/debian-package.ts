import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { StartError } from '../processes/program.ts';

interface DebianPackage {
  readonly name: string;
  /** What it installs, for the messages. */
  readonly what: string;
  /** The operator's alternatives, for the messages. */
  readonly alternatives: string;
}

const rabbitmq: DebianPackage = {
  name: 'rabbitmq-server',
  what: 'RabbitMQ',
  alternatives: 'start a container engine, or give AMQP_URL',
};

/**
 * The installation of the packages would start a system-wide server. During the installation, a policy-rc.d forbids that
 * (invoke-rc.d(8)); an existing one is restored afterwards, also when this process is interrupted.
 * Postgres' package would also create a cluster; a drop-in for createcluster.conf (pg_createcluster(1)) forbids that.
 */
const install = `
set -e
policy=/usr/sbin/policy-rc.d
saved=$policy.before-fleetwire
cluster=/etc/postgresql-common/createcluster.d/fleetwire.conf
restore() {
  rm -f "$policy" "$cluster"
  [ ! -e "$saved" ] || mv "$saved" "$policy"
}
[ ! -e "$policy" ] || [ -e "$saved" ] || mv "$policy" "$saved"
trap restore EXIT
trap 'exit 130' INT TERM HUP
printf '#!/bin/sh\\nexit 101\\n' >"$policy"
chmod 755 "$policy"
case "$0" in postgresql-*)
  mkdir -p "\${cluster%/*}"
  echo 'create_main_cluster = false' >"$cluster"
esac
apt-get -qq update
apt-get -qq install --no-install-recommends "$0"
`;

/** Installs Debian's rabbitmq-server without starting it. @throws StartError without root or apt-get */
export function installRabbitmqPackage(log: (line: string) => void): Promise<void> {
  return installPackage(rabbitmq, log);
}

/** Installs Debian's Postgres of a major version, without a cluster and without starting it. @throws StartError without root or apt-get */
export function installPostgresPackage(major: string, log: (line: string) => void): Promise<void> {
  const what = `Postgres ${major}`;
  const alternatives = `or run the tests on another Postgres without FLEETWIRE_TEST_POSTGRES`;
  return installPackage({ name: `postgresql-${major}`, what, alternatives }, log);
}

async function installPackage({ name, what, alternatives }: DebianPackage, log: (line: string) => void): Promise<void> {
  if (!existsSync('/usr/bin/apt-get')) {
    throw new StartError(
      `${what} is not installed and this system has no apt-get to install it: install ${name}, ${alternatives}.`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new StartError(
      `${what} is not installed and only root may install it: run "apt-get install ${name}" as root, ${alternatives}.`,
    );
  }
  log(`installing ${what} from Debian's packages (once; a minute or two)`);
  const child = spawn('sh', ['-c', install, name], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  if (code !== 0) {
    const reason = errors.trim().split('\n').at(-1) ?? '';
    throw new StartError(
      `${what} could not be installed from Debian's packages (${reason}): install ${name}, ${alternatives}.`,
    );
  }
}
