import { type ServiceName, type ServiceProcess, serviceNames } from '@fleetwire/platform/processes/service-process';
import type { Fault } from './fault.ts';

const exits = [
  { name: 'killed', exit: kill, what: 'one instance is killed (SIGKILL), then started again' },
  { name: 'terminated', exit: drain, what: 'one instance drains and exits (SIGTERM), then is started again' },
] as const;

/** One instance of a service exits, or hangs; the others keep working. */
export const serviceFaults: readonly Fault[] = serviceNames.flatMap((service): Fault[] => [
  ...exits.map(({ name, exit, what }) => exitFault(`${service}-${name}`, service, exit, what)),
  {
    name: `${service}-paused`,
    what: 'one instance hangs (SIGSTOP)',
    component: service,
    holdMinMs: 1_000,
    holdMaxMs: 6_000,
    async inject({ services }, random) {
      const chosen = pick(services[service], random());
      chosen.pause();
      return async () => chosen.resume();
    },
  },
]);

/** Longer than the lease of an edge (12 s): its devices are lost, although it goes on. */
export const leaseFaults: readonly Fault[] = [
  {
    name: 'ingest-ws-paused-beyond-lease',
    what: 'one instance hangs (SIGSTOP) until its devices are marked offline, and goes on',
    component: 'ingest-ws',
    holdMinMs: 14_000,
    holdMaxMs: 16_000,
    async inject({ services }, random) {
      const chosen = pick(services['ingest-ws'], random());
      chosen.pause();
      return async () => chosen.resume();
    },
  },
];

function exitFault(
  name: string,
  service: ServiceName,
  exit: (process: ServiceProcess) => Promise<void>,
  what: string,
): Fault {
  return {
    name,
    what,
    component: service,
    holdMinMs: 200,
    holdMaxMs: 3_000,
    async inject({ services }, random) {
      const chosen = pick(services[service], random());
      const exited = exit(chosen);
      exited.catch(() => {});
      return async () => {
        await exited.finally(() => chosen.start());
        await chosen.untilAlive();
      };
    },
  };
}

async function kill(process: ServiceProcess): Promise<void> {
  await process.kill();
}

async function drain(process: ServiceProcess): Promise<void> {
  const { signal } = await process.stop();
  if (signal === 'SIGKILL') throw new Error(`${process.name} did not drain in time and was killed`);
}

function pick<T>(list: readonly T[], random: number): T {
  return list[Math.floor(random * list.length)]!;
}
