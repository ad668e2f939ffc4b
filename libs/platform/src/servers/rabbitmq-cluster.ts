import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StartedNetwork } from 'testcontainers';
import { containerControl, images } from './containers.ts';
import { manage } from './management.ts';
import type { BrokerControl, ServerControl } from './running-server.ts';
import { asRabbitmqConf, rabbitmqArguments, rabbitmqSettings } from './settings.ts';

export interface ClusterNode {
  /** RabbitMQ's name of it: `rabbit@…`. */
  readonly name: string;
  readonly isRunning: boolean;
  readonly amqpUrl: string;
  readonly managementUrl: string;
  readonly control: BrokerControl;
}

/** Three RabbitMQ nodes in containers on a network of their own, to lose a leader or the majority. */
export interface RabbitmqCluster extends AsyncDisposable {
  readonly nodes: readonly ClusterNode[];
  /** Of a running node, a different one each time. */
  readonly amqpUrl: string;
  /** Of a running node. */
  readonly managementUrl: string;
  /** The leader of a queue of the vhost `/`. @throws while it has none */
  leaderOf(queue: string): Promise<ClusterNode>;
}

const size = 3;
const startDeadlineMs = 120_000;
const probeTimeoutMs = 2_000;
const user = 'fleetwire';

/** Disposal removes the data. @throws the error of the container engine */
export async function startRabbitmqCluster(): Promise<RabbitmqCluster> {
  const { Network } = await import('testcontainers');
  await using acquired = new AsyncDisposableStack();
  const network = await new Network().start();
  acquired.defer(async () => void (await network.stop()));
  const secrets = { password: randomBytes(18).toString('hex'), cookie: randomBytes(18).toString('hex') };
  const hosts = Array.from({ length: size }, (_, index) => `fleetwire-${index + 1}`);
  const settings = {
    ...rabbitmqSettings,
    'cluster_formation.peer_discovery_backend': 'classic_config',
    ...Object.fromEntries(
      hosts.map((host, index) => [`cluster_formation.classic_config.nodes.${index + 1}`, `rabbit@${host}`]),
    ),
  };
  const started = await Promise.allSettled(
    hosts.map(async (host) => {
      const node = await startNode(host, network, settings, secrets);
      acquired.defer(() => node.remove());
      return node;
    }),
  );
  const nodes = started.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });

  let turn = 0;
  const running = () => {
    const able = nodes.filter(({ isRunning }) => isRunning);
    turn += 1;
    return able[turn % able.length] ?? nodes[0]!;
  };
  await untilFormed(nodes[0]!.managementUrl);
  const stack = acquired.move();
  return {
    nodes,
    get amqpUrl() {
      return running().amqpUrl;
    },
    get managementUrl() {
      return running().managementUrl;
    },
    async leaderOf(queue) {
      const { leader } = (await manage(running().managementUrl, 'GET', `/queues/%2F/${queue}`)) as { leader?: string };
      const found = nodes.find(({ name }) => name === leader);
      if (found === undefined) throw new Error(`no node leads ${queue}`);
      return found;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function startNode(
  host: string,
  network: StartedNetwork,
  settings: Record<string, string>,
  { password, cookie }: { password: string; cookie: string },
): Promise<ClusterNode & { remove(): Promise<void> }> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const container = await new GenericContainer(images.rabbitmq)
    .withHostname(host)
    .withNetwork(network)
    .withNetworkAliases(host)
    .withEnvironment({
      RABBITMQ_DEFAULT_USER: user,
      RABBITMQ_DEFAULT_PASS: password,
      RABBITMQ_ERLANG_COOKIE: cookie,
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: rabbitmqArguments,
    })
    .withExposedPorts(5672, 15672)
    .withCopyContentToContainer([
      { content: asRabbitmqConf(settings), target: '/etc/rabbitmq/conf.d/30-fleetwire.conf' },
    ])
    .withWaitStrategy(Wait.forListeningPorts())
    .withStartupTimeout(startDeadlineMs)
    .start();
  const authority = (port: number) => `${user}:${password}@${container.getHost()}:${container.getMappedPort(port)}`;
  const control: ServerControl = await containerControl(container, ['rabbitmqctl', 'stop'], 'killed');
  let isRunning = true;
  return {
    name: `rabbit@${host}`,
    get isRunning() {
      return isRunning;
    },
    get amqpUrl() {
      return `amqp://${authority(5672)}`;
    },
    get managementUrl() {
      return `http://${authority(15672)}`;
    },
    control: {
      async end(how) {
        isRunning = false;
        await control.end(how);
      },
      async start() {
        await control.start();
        isRunning = true;
      },
      pause: () => control.pause(),
      resume: () => control.resume(),
      ctl: async (args) => (await container.exec(['rabbitmqctl', ...args])).stdout,
    },
    remove: async () => void (await container.stop({ timeout: 0 })),
  };
}

async function untilFormed(managementUrl: string): Promise<void> {
  for (const deadline = Date.now() + startDeadlineMs; ; await sleep(500)) {
    const nodes = (await manage(managementUrl, 'GET', '/nodes', undefined, probeTimeoutMs).catch(() => [])) as {
      running: boolean;
    }[];
    if (nodes.filter(({ running }) => running).length === size) return;
    if (Date.now() > deadline) throw new Error(`the cluster of ${size} was not formed after ${startDeadlineMs} ms`);
  }
}
