import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { StartError } from '../processes/program.ts';
import { containersObstacle, images, ownerLabel, removeLeftContainers } from '../servers/containers.ts';
import { eventually } from '../testing/eventually.ts';
import { listenLines, nginxConfiguration } from './configuration.ts';
import { answers } from './readiness.ts';
import type { Launchable, RunningNginx } from './start.ts';

const home = '/tmp/fleetwire';
const startDeadlineMs = 60_000;

/** @throws StartError where no container of nginx can run */
export async function nginxContainer(env: NodeJS.ProcessEnv, log: (line: string) => void) {
  const obstacle =
    process.platform === 'linux' ? await containersObstacle(['nginx'], env, log) : 'it could not reach the services';
  if (obstacle !== undefined) throw new StartError(`nginx cannot run in a container: ${obstacle}.`);
  return startNginxContainer;
}

/** In the network of this machine, where the services listen on loopback. */
async function startNginxContainer({ directory, port, tls, configuration }: Launchable): Promise<RunningNginx> {
  const files = { certificateFile: `${home}/certificate.pem`, keyFile: `${home}/key.pem` };
  const listen = listenLines(`127.0.0.1:${port}`, tls && files);
  const instance = randomUUID();
  const content = nginxConfiguration({ ...configuration, listen, accessLog: '/dev/stdout', instance });
  const copies = [
    { content, target: `${home}/nginx.conf` },
    ...(tls === undefined
      ? []
      : [
          { content: readFileSync(tls.certificateFile, 'utf8'), target: files.certificateFile },
          { content: readFileSync(tls.keyFile, 'utf8'), target: files.keyFile },
        ]),
  ];
  // Not the label of the other servers: they may run already.
  const owner = `${directory.remembered.id}-nginx`;
  await removeLeftContainers(directory, owner);
  const { GenericContainer } = await import('testcontainers');
  const container = await new GenericContainer(images.nginx)
    .withNetworkMode('host')
    .withLabels({ [ownerLabel]: owner })
    .withCopyContentToContainer(copies)
    .withCommand(['nginx', '-p', `${home}/`, '-c', `${home}/nginx.conf`, '-e', 'stderr'])
    .withStartupTimeout(startDeadlineMs)
    .start();
  const stop = async () => void (await container.stop({ timeout: 0 }));
  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  try {
    await eventually(
      async () => {
        if (!(await answers(url, instance))) throw new StartError(`nginx in a container does not answer at ${url}.`);
      },
      { timeoutMs: startDeadlineMs, intervalMs: 100 },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, version: images.nginx, stop };
}
