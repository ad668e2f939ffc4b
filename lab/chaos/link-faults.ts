import type { FaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import { type Fault, type LinkName, linkNames } from './fault.ts';

/** Network faults, the same ones on every link. */
export const linkFaults: readonly Fault[] = linkNames.flatMap((link) => [
  linkFault(link, 'cut', 'connections end in order (FIN)', [0, 500], (proxy) => {
    proxy.cut();
    return () => {};
  }),
  linkFault(link, 'reset', 'connections are reset (RST), new ones too for a while', [200, 2_000], (proxy) => {
    proxy.refuse();
    return () => proxy.resume();
  }),
  linkFault(link, 'stalled', 'half-open: nothing passes, then all that was held back', [1_500, 6_000], (proxy) => {
    proxy.stall();
    return () => proxy.resume();
  }),
  linkFault(link, 'half-deaf', 'only answers are held back, and lost in the end', [1_500, 6_000], (proxy) => {
    proxy.stall('to-client');
    return () => {
      proxy.reset();
      proxy.resume();
    };
  }),
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
      const mend = breakLink(links[link]);
      return async () => mend();
    },
  };
}
