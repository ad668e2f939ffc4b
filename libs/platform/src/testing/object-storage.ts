import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePorts } from '../processes/free-ports.ts';
import { lastLines, startProgram } from '../processes/program.ts';
import { extractCephPackages } from '../servers/debian-package.ts';
import { cleanUp } from './clean-up.ts';
import { eventually } from './eventually.ts';

const run = promisify(execFile);
const extracted = fileURLToPath(new URL('../../../../.fleetwire/ceph', import.meta.url));
const stopMsMax = 10_000;

/** For `describe.skipIf`: this system has no package manager of Debian that could download Ceph. */
export const withoutObjectStorage = !existsSync(extracted) && !existsSync('/usr/bin/apt-get');

/** A server that speaks S3. */
export interface ObjectStorage {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/**
 * Ceph with one monitor, one OSD that keeps its objects in memory, and the RADOS gateway, which speaks S3: Debian's programs, extracted below
 * `.fleetwire` and not installed. All of them listen on 127.0.0.1 and are stopped after the suite.
 */
export async function startObjectStorage(): Promise<ObjectStorage> {
  if (!existsSync(extracted)) await extractCephPackages(extracted, (line) => console.log(`object storage: ${line}`));
  const home = mkdtempSync(join(tmpdir(), 'fleetwire-ceph-'));
  cleanUp(() => rmSync(home, { recursive: true, force: true }));
  const ports = await freePorts(['monitor', 'gateway']);
  const libraries = join(extracted, 'usr/lib', `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`);
  const cluster = randomUUID();
  const osd = randomUUID();
  const configuration = join(home, 'ceph.conf');
  const settings = {
    fsid: cluster,
    mon_host: `[v2:127.0.0.1:${ports.monitor}/0]`,
    public_addr: '127.0.0.1',
    cluster_addr: '127.0.0.1',
    ms_bind_msgr1: 'false',
    // No keys: nothing but this machine reaches it.
    auth_cluster_required: 'none',
    auth_service_required: 'none',
    auth_client_required: 'none',
    // The gateway would want to encrypt, for which there is no key.
    ms_mon_client_mode: 'crc',
    // Each change of the cluster would take a second, and each wait for it five.
    paxos_propose_interval: '0.02',
    paxos_min_wait: '0.01',
    objecter_tick_interval: '0.5',
    mon_data: join(home, 'monitor'),
    mon_data_avail_crit: '1',
    mon_allow_pool_size_one: 'true',
    mon_max_pg_per_osd: '1000',
    osd_data: join(home, 'osd'),
    osd_objectstore: 'memstore',
    memstore_device_bytes: String(1024 ** 3),
    osd_crush_chooseleaf_type: '0',
    osd_pool_default_size: '1',
    osd_pool_default_min_size: '1',
    osd_pool_default_pg_num: '1',
    osd_pool_default_pg_autoscale_mode: 'off',
    osd_class_dir: join(libraries, 'rados-classes'),
    plugin_dir: join(libraries, 'ceph'),
    erasure_code_dir: join(libraries, 'ceph/erasure-code'),
    rgw_data: join(home, 'gateway'),
    rgw_frontends: `beast endpoint=127.0.0.1:${ports.gateway}`,
    rgw_enable_apis: 's3',
    rgw_thread_pool_size: '32',
    run_dir: home,
    admin_socket: '""',
    crash_dir: home,
    log_to_file: 'false',
    log_to_stderr: 'true',
    err_to_stderr: 'true',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(configuration, `[global]\n${lines.join('\n')}\n`);
  for (const folder of ['osd', 'gateway']) mkdirSync(join(home, folder));

  const env = {
    ...process.env,
    LD_LIBRARY_PATH: [libraries, join(libraries, 'ceph'), libraries.replace('/usr/lib/', '/lib/')].join(':'),
  };
  const path = (name: string) => join(extracted, 'usr/bin', name);
  const once = async (name: string, ...args: string[]) => (await run(path(name), args, { env, cwd: home })).stdout;
  const start = (name: string, ...args: string[]) => {
    const logFile = join(home, `${name}.log`);
    const program = startProgram({
      name,
      command: path(name),
      args: ['-c', configuration, '-f', ...args],
      env,
      cwd: home,
      logFile,
      killAtExit: true,
    });
    cleanUp(() => program.stop(['SIGKILL'], stopMsMax));
    void program.exited.then(
      ({ code }) => code === null || console.log(`object storage: ${name}\n${lastLines(logFile)}`),
    );
  };

  const [monitors, osds] = [join(home, 'monitors'), join(home, 'osds')];
  const address = `[v2:127.0.0.1:${ports.monitor}/0]`;
  await once('monmaptool', '--create', '--fsid', cluster, '--addv', 'a', address, monitors);
  await once('osdmaptool', '-c', configuration, '--createsimple', '1', '--clobber', osds);
  await once('ceph-mon', '-c', configuration, '--mkfs', '-i', 'a', '--monmap', monitors, '--osdmap', osds);
  start('ceph-mon', '-i', 'a');
  await once('ceph-osd', '-c', configuration, '--mkfs', '-i', '0', '--osd-uuid', osd);
  start('ceph-osd', '-i', '0');
  const [accessKeyId, secretAccessKey] = [randomUUID(), randomUUID()];
  const user = [
    '--uid=tests',
    '--display-name=tests',
    `--access-key=${accessKeyId}`,
    `--secret-key=${secretAccessKey}`,
  ];
  await once('radosgw-admin', '-c', configuration, 'user', 'create', ...user);
  start('radosgw', '-n', 'client.admin');
  await eventually(() => accepts(ports.gateway));
  return { endpoint: `http://127.0.0.1:${ports.gateway}`, accessKeyId, secretAccessKey };
}

function accepts(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket
      .once('connect', resolve)
      .once('connect', () => socket.destroy())
      .once('error', reject);
  });
}
