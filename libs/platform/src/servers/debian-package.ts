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

/**
 * nginx is one file, so its package is extracted and not installed: then there is no system-wide service to start or to enable. Only the
 * libraries that it needs are installed. In some releases the program is in nginx-core. The folder appears complete or not at all.
 */
const extract = `
set -e
new=$(mktemp -d "$0.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM HUP
cd "$new"
isRoot() { [ "$(id -u)" = 0 ]; }
apt-get -qq download nginx 2>/dev/null || { isRoot && apt-get -qq update && apt-get -qq download nginx; }
dpkg-deb -x nginx_*.deb .
[ -x usr/sbin/nginx ] || { apt-get -qq download nginx-core && dpkg-deb -x nginx-core_*.deb .; }
usr/sbin/nginx -v 2>/dev/null || {
  isRoot && apt-get -qq install --no-install-recommends $(apt-cache depends --important nginx |
    sed -n 's/^ *Depends: \\(lib[^ ]*\\|zlib[^ ]*\\)$/\\1/p')
  usr/sbin/nginx -v 2>/dev/null
}
rm -f ./*.deb
chmod 755 .
[ -x "$0/usr/sbin/nginx" ] || { rm -rf "$0"; mv -T "$new" "$0"; } || [ -x "$0/usr/sbin/nginx" ]
`;

/** Extracts the program of Debian's nginx into this folder. @throws StartError without apt-get, or where it is not root and has no package lists */
export async function extractNginxPackage(folder: string, log: (line: string) => void): Promise<void> {
  if (!existsSync('/usr/bin/apt-get'))
    throw new StartError(
      'nginx is not installed and this system has no apt-get to download it: install nginx, or give NGINX.',
    );
  log("extracting nginx from Debian's package (once)");
  const { code, errors } = await runShell(extract, folder);
  if (code !== 0) {
    throw new StartError(
      `nginx could not be extracted from Debian's package (${lastLine(errors)}): install nginx, or give NGINX.`,
    );
  }
}

/**
 * The monitor, the storage daemon and the S3 gateway of Ceph, with the libraries that this system lacks: extracted, as nginx is, because their
 * packages would start services and bring tools for disks.
 */
const extractCeph = `
set -e
new=$(mktemp -d "$0.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM HUP
cd "$new"
chmod 755 .
list() {
  apt-get -s install --no-install-recommends ceph-mon ceph-osd radosgw |
    sed -nE 's/^Inst ((lib|ceph-|radosgw)[^ ]*) .*/\\1/p'
}
packages=$(list) || { [ "$(id -u)" = 0 ] && apt-get -qq update && packages=$(list); }
apt-get -qq download $packages
for package in ./*.deb; do dpkg-deb -x "$package" .; done
rm -f ./*.deb
[ -x usr/bin/radosgw ]
mv -T "$new" "$0" || [ -x "$0/usr/bin/radosgw" ]
`;

/** @throws StartError without apt-get, or where it is not root and has no package lists */
export async function extractCephPackages(folder: string, log: (line: string) => void): Promise<void> {
  if (!existsSync('/usr/bin/apt-get'))
    throw new StartError('The tests of buckets need Ceph, and this system has no apt-get to download it.');
  log("extracting Ceph from Debian's packages (once; 60 MB)");
  const { code, errors } = await runShell(extractCeph, folder);
  if (code !== 0) throw new StartError(`Ceph could not be extracted from Debian's packages (${lastLine(errors)}).`);
}

/** Programs of apt-get must not overlap: dpkg has one lock. */
let previous: Promise<unknown> = Promise.resolve();

async function runShell(script: string, argument: string): Promise<{ code: number | null; errors: string }> {
  const mine = previous.then(async () => {
    const child = spawn('sh', ['-c', script, argument], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
    const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    return { code: code as number | null, errors };
  });
  previous = mine.catch(() => {});
  return mine;
}

function lastLine(errors: string): string {
  return errors.trim().split('\n').at(-1) ?? '';
}

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
  const { code, errors } = await runShell(install, name);
  if (code !== 0) {
    throw new StartError(
      `${what} could not be installed from Debian's packages (${lastLine(errors)}): install ${name}, ${alternatives}.`,
    );
  }
}
