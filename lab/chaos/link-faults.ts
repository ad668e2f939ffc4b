import type { FaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { type Fault, type LinkName, linkNames } from './fault.ts';

/** Network faults, the same ones on every link. */
export const linkFaults: readonly Fault[] = linkNames.flatMap((link) => [
  linkFault(link, 'cut', 'connections are closed (FIN)', [0, 500], (proxy) => {
    proxy.cut();
    return () => {};
  }),
  linkFault(link, 'reset', 'connections are reset (RST), for a while new ones too', [200, 2_000], (proxy) => {
    proxy.refuse();
    return () => proxy.resume();
  }),
  linkFault(
    link,
    'stalled',
    'half-open connections: nothing passes; then everything that was held back arrives late',
    [1_500, 6_000],
    (proxy) => {
      proxy.stall();
      return () => proxy.resume();
    },
  ),
  linkFault(
    link,
    'half-deaf',
    'half-open in one direction: requests arrive, answers are lost',
    [1_500, 6_000],
    (proxy) => {
      proxy.stall('to-client');
      return () => {
        proxy.reset();
        proxy.resume();
      };
    },
  ),
]);

function linkFault(
  link: LinkName,
  name: string,
  what: string,
  [holdMinMs, holdMaxMs]: readonly [number, number],
  breakLink: (proxy: FaultProxy) => () => void,
): Fault {
  return {
    name: `${link}-${name}`,
    what,
    component: `link ${link}`,
    holdMinMs,
    holdMaxMs,
    async inject({ links }) {
      const heal = breakLink(links[link]);
      return async () => heal();
    },
  };
}
