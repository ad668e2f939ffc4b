import { createServer } from 'node:net';
import { once } from 'node:events';
import { StartError } from '@fleetwire/platform/processes/program';

const triesMax = 100;

/** For each name its usual port on 127.0.0.1, or the next one that is free and not another name's. */
export async function choosePorts<Name extends string>(usual: Record<Name, number>): Promise<Record<Name, number>> {
  const chosen = { ...usual };
  for (const name of Object.keys(usual) as Name[]) {
    const { [name]: _, ...others } = chosen;
    chosen[name] = await nextFree(usual[name], new Set(Object.values<number>(others)));
  }
  return chosen;
}

async function nextFree(first: number, ofOthers: ReadonlySet<number>): Promise<number> {
  for (let port = first; port < first + triesMax; port += 1) {
    if (!ofOthers.has(port) && (await isFree(port))) return port;
  }
  throw new StartError(`None of the ports ${first} to ${first + triesMax - 1} is free on 127.0.0.1.`);
}

export async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen({ port, host: '127.0.0.1' });
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
    if (server.listening) await once(server, 'close');
  }
}
