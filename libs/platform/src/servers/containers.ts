import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StartedTestContainer } from 'testcontainers';
import type { DataDirectory } from './data-directory.ts';
import { brokerVersion } from './management.ts';
import type { RunningBroker, RunningServer } from './running-server.ts';
import type { ServerControl } from './running-server.ts';
import { asRabbitmqConf, postgresSettings, rabbitmqArguments, rabbitmqSettings } from './settings.ts';

export const images = { rabbitmq: 'rabbitmq:4-management', postgres: 'postgres:17', nginx: 'nginx:stable' };
const reaperImage = 'testcontainers/ryuk:0.14.0';
const pullDeadlineMs = 300_000;
const startDeadlineMs = 120_000;
const stopDeadlineMs = 20_000;
const pauseDeadlineMs = 30_000;
const pauseAgainMs = 100;
export const ownerLabel = 'fleetwire.data';

/** Why containers cannot be used for these services, or undefined if they can. Pulls images that are missing. */
export async function containersObstacle(
  services: (keyof typeof images)[],
  env: NodeJS.ProcessEnv,
  log: (line: string) => void,
) {
  if (!mayHaveEngine(env)) return 'no container engine answers';
  const { getContainerRuntimeClient, ImageName } = await import('testcontainers');
  const client = await getContainerRuntimeClient().catch(() => undefined);
  if (!client) return 'no container engine answers';
  const obtain = async (image: string): Promise<boolean> => {
    const name = ImageName.fromString(image);
    if (await client.image.exists(name)) return true;
    log(`pulling the image ${image}`);
    const pulled = client.image.pull(name).then(
      () => true,
      () => false,
    );
    return Promise.race([
      pulled,
      new Promise<boolean>((resolve) => setTimeout(resolve, pullDeadlineMs, false).unref()),
    ]);
  };
  for (const service of services) {
    if (!(await obtain(images[service]))) return `the image ${images[service]} is neither here nor to be pulled`;
  }
  // The reaper removes containers of a process that was killed; without it, the next run on the same data folder does.
  if (
    process.env['TESTCONTAINERS_RYUK_DISABLED'] === undefined &&
    !(await obtain(process.env['RYUK_CONTAINER_IMAGE'] ?? reaperImage))
  ) {
    process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
  }
  return undefined;
}

/** Without any sign of an engine, the slow search for one is skipped. */
function mayHaveEngine(env: NodeJS.ProcessEnv): boolean {
  const home = homedir();
  const signs = [
    '/var/run/docker.sock',
    join(home, '.docker/run/docker.sock'),
    join(home, '.docker/desktop/docker.sock'),
    join(home, '.testcontainers.properties'),
    join(env['XDG_RUNTIME_DIR'] ?? `/run/user/${process.getuid?.() ?? 0}`, 'docker.sock'),
  ];
  return env['DOCKER_HOST'] !== undefined || signs.some((path) => existsSync(path));
}

export async function containerEngineAnswers(): Promise<boolean> {
  const { getContainerRuntimeClient } = await import('testcontainers');
  return getContainerRuntimeClient().then(
    () => true,
    () => false,
  );
}

/**
 * Removes containers that a killed run on this data folder left behind. Only the folder's owner may call it.
 * @param owner the value of their label
 */
export async function removeLeftContainers(directory: DataDirectory, owner = directory.remembered.id): Promise<void> {
  const { getContainerRuntimeClient } = await import('testcontainers');
  const { dockerode } = (await getContainerRuntimeClient()).container;
  const left = await dockerode.listContainers({
    all: true,
    filters: { label: [`${ownerLabel}=${owner}`] },
  });
  for (const { Id } of left) await dockerode.getContainer(Id).remove({ force: true, v: true });
}

/** The data is in a named volume, or in the container alone where it is temporary. */
function volumeFor(directory: DataDirectory, service: keyof typeof images) {
  return directory.temporary ? undefined : `fleetwire-${directory.remembered.id}-${service}`;
}

export async function startRabbitmqContainer(directory: DataDirectory): Promise<RunningBroker> {
  const { RabbitMQContainer } = await import('@testcontainers/rabbitmq');
  const { id, user, password } = directory.remembered;
  const volume = volumeFor(directory, 'rabbitmq');
  const container = await new RabbitMQContainer(images.rabbitmq)
    // The node's name, and with it the identity of its queue replicas, is derived from the host name.
    .withHostname('fleetwire')
    .withLabels({ [ownerLabel]: id })
    .withEnvironment({
      RABBITMQ_DEFAULT_USER: user,
      RABBITMQ_DEFAULT_PASS: password,
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: rabbitmqArguments,
    })
    .withCopyContentToContainer([
      { content: asRabbitmqConf(rabbitmqSettings), target: '/etc/rabbitmq/conf.d/30-fleetwire.conf' },
    ])
    .withBindMounts(volume === undefined ? [] : [{ source: volume, target: '/var/lib/rabbitmq' }])
    .withStartupTimeout(startDeadlineMs)
    .start();
  const authority = (port: number) => `${user}:${password}@${container.getHost()}:${container.getMappedPort(port)}`;
  const managementUrl = () => `http://${authority(15672)}`;
  return {
    get url() {
      return `amqp://${authority(5672)}`;
    },
    get managementUrl() {
      return managementUrl();
    },
    control: {
      ...(await containerControl(container, ['rabbitmqctl', 'stop'], 'killed')),
      ctl: async (args) => (await container.exec(['rabbitmqctl', ...args])).stdout,
    },
    version: (await brokerVersion(managementUrl())) ?? 'unknown',
    data: volume === undefined ? 'in the container' : `volume ${volume}`,
    stop: () => stopContainer(container, directory, ['rabbitmqctl', 'stop']),
  };
}

export async function startPostgresContainer(directory: DataDirectory): Promise<RunningServer> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const { id, user, password } = directory.remembered;
  const volume = volumeFor(directory, 'postgres');
  const container = await new PostgreSqlContainer(images.postgres)
    .withUsername(user)
    .withPassword(password)
    .withDatabase('fleetwire')
    .withLabels({ [ownerLabel]: id })
    .withSharedMemorySize(256 * 1024 * 1024)
    .withCommand([
      'postgres',
      ...Object.entries(postgresSettings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ])
    .withBindMounts(volume === undefined ? [] : [{ source: volume, target: '/var/lib/postgresql/data' }])
    .withStartupTimeout(startDeadlineMs)
    .start();
  const { output } = await container.exec(['postgres', '--version']);
  return {
    get url() {
      return container.getConnectionUri();
    },
    control: await containerControl(container, signalPostgres('INT'), signalPostgres('QUIT')),
    version: output.trim().replace(/^.*PostgreSQL\) /, ''),
    data: volume === undefined ? 'in the container' : `volume ${volume}`,
    stop: () => stopContainer(container, directory, signalPostgres('INT')),
  };
}

function signalPostgres(signal: 'INT' | 'QUIT'): string[] {
  return ['sh', '-c', `kill -${signal} "$(head -n 1 "$PGDATA/postmaster.pid")"`];
}

/** @param orderly a command in the container that stops the server; so is `immediate`, where the server has one */
export async function containerControl(
  container: StartedTestContainer,
  orderly: string[],
  immediate: string[] | 'killed',
): Promise<ServerControl> {
  const { getContainerRuntimeClient } = await import('testcontainers');
  const { dockerode } = (await getContainerRuntimeClient()).container;
  const engine = dockerode.getContainer(container.getId());
  return {
    async end(how) {
      const request = how === 'killed' ? how : { orderly, immediate }[how];
      const ended = engine.wait();
      // The container may stop before the command in it has returned.
      if (request === 'killed') await engine.kill();
      else await Promise.race([container.exec(request).catch(() => undefined), ended]);
      await ended;
    },
    start: () => container.restart(),
    pause: () => pauseContainer(engine),
    resume: async () => void (await engine.unpause()),
  };
}

/**
 * Pauses a container, and asks again where its processes could not be frozen in time: on a busy host with cgroups of
 * version 1 the runtime gives up after a fraction of a second (moby issue 48205), and lets the container go on.
 * @throws the engine's last answer when the container cannot be paused for long; any other error at once
 */
export async function pauseContainer(
  engine: { pause: () => Promise<unknown> },
  deadlineMs = pauseDeadlineMs,
): Promise<void> {
  for (const deadline = Date.now() + deadlineMs; ; await sleep(pauseAgainMs)) {
    try {
      return void (await engine.pause());
    } catch (error) {
      if (!String(error).includes('unable to freeze') || Date.now() >= deadline) throw error;
    }
  }
}

/** Where the data is kept, a command stops the server: process 1 of the image may not forward the engine's signal. */
async function stopContainer(
  container: StartedTestContainer,
  directory: DataDirectory,
  askServer: string[],
): Promise<void> {
  if (!directory.temporary) await container.exec(askServer);
  await container.stop({ timeout: directory.temporary ? 0 : stopDeadlineMs });
}
