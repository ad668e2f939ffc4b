import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { BackingServiceUnavailable } from './unavailable.ts';

const alternatives = 'start a container engine, or give AMQP_URL';

/**
 * The package's installation would start a system-wide broker. A policy-rc.d that forbids it stands in for the time of the
 * installation (invoke-rc.d(8)); one that was there before is put back, also when this process is interrupted.
 */
const install = `
set -e
policy=/usr/sbin/policy-rc.d
saved=$policy.before-fleetwire
restore() { rm -f "$policy"; [ ! -e "$saved" ] || mv "$saved" "$policy"; }
[ ! -e "$policy" ] || [ -e "$saved" ] || mv "$policy" "$saved"
trap restore EXIT
trap 'exit 130' INT TERM HUP
printf '#!/bin/sh\\nexit 101\\n' >"$policy"
chmod 755 "$policy"
apt-get -qq update
apt-get -qq install --no-install-recommends rabbitmq-server
`;

/** Installs Debian's rabbitmq-server without starting it. Needs root and apt-get, and says so where they are missing. */
export async function installRabbitmqPackage(log: (line: string) => void): Promise<void> {
  if (!existsSync('/usr/bin/apt-get')) {
    throw new BackingServiceUnavailable(
      `RabbitMQ is not installed and this system has no apt-get to bring it: install rabbitmq-server, ${alternatives}.`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new BackingServiceUnavailable(
      `RabbitMQ is not installed and only root may install it: run "apt-get install rabbitmq-server" as root, ${alternatives}.`,
    );
  }
  log("installing RabbitMQ from Debian's packages (once; a minute or two)");
  const child = spawn('sh', ['-c', install], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  if (code !== 0) {
    const reason = errors.trim().split('\n').at(-1) ?? '';
    throw new BackingServiceUnavailable(
      `RabbitMQ could not be installed from Debian's packages (${reason}): install rabbitmq-server, ${alternatives}.`,
    );
  }
}
