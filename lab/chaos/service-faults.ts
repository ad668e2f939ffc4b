import type { Fault } from './fault.ts';
import { type ServiceName, serviceNames } from './service-process.ts';

const endings = [
  { name: 'killed', signal: 'SIGKILL', what: 'one instance dies at once (SIGKILL), and is started again' },
  { name: 'terminated', signal: 'SIGTERM', what: 'one instance drains and ends (SIGTERM), and is started again' },
] as const;

/** One instance of a service ends, or hangs; the others go on. */
export const serviceFaults: readonly Fault[] = serviceNames.flatMap((service): Fault[] => [
  ...endings.map(({ name, signal, what }) => ending(`${service}-${name}`, service, signal, what)),
  {
    name: `${service}-paused`,
    what: 'one instance hangs (SIGSTOP)',
    lane: service,
    holdMinMs: 1_000,
    holdMaxMs: 6_000,
    async inject({ services }, random) {
      const chosen = pick(services[service], random());
      chosen.pause();
      return async () => chosen.resume();
    },
  },
]);

function ending(name: string, service: ServiceName, signal: 'SIGKILL' | 'SIGTERM', what: string): Fault {
  return {
    name,
    what,
    lane: service,
    holdMinMs: 200,
    holdMaxMs: 3_000,
    async inject({ services }, random) {
      const chosen = pick(services[service], random());
      const ended = chosen.end(signal);
      ended.catch(() => {});
      return async () => {
        await ended.finally(() => chosen.launch());
        await chosen.untilAlive();
      };
    },
  };
}

function pick<T>(list: readonly T[], random: number): T {
  return list[Math.floor(random * list.length)]!;
}
