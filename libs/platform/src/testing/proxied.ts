import { cleanUp } from './clean-up.ts';
import { type FaultProxy, startFaultProxy } from '../faults/fault-proxy.ts';

/**
 * A fault proxy in front of a server, and its URL; stopped after the suite, or after the test that created it.
 * @internal
 */
export async function proxied(url: string): Promise<{ readonly proxy: FaultProxy; readonly url: string }> {
  const target = new URL(url);
  const proxy = await startFaultProxy({ host: target.hostname, port: Number(target.port) });
  cleanUp(() => proxy.stop());
  target.host = `127.0.0.1:${proxy.port}`;
  return { proxy, url: target.href };
}
