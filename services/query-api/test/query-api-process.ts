import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { keys } from './running-api.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));

export interface QueryApiProcess {
  readonly url: string;
  /** The largest resident memory since it started, in bytes; Linux only. */
  peakMemoryBytes(): number;
  /** Ends it with SIGKILL. */
  kill(): Promise<unknown[]>;
  /** Ends it with SIGTERM. @returns exit code and signal */
  stop(): Promise<unknown[]>;
}

/** The service as a process of its own, killed after the test; resolves when it listens. */
export async function startProcess(environment: Record<string, string>): Promise<QueryApiProcess> {
  const env = { PORT: '0', AUTH_JWKS: JSON.stringify(keys.publicJwks), ...environment };
  const service = spawn(process.execPath, [main], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(service, 'exit');
  cleanUp(() => service.kill('SIGKILL'));
  let url = '';
  for await (const line of createInterface({ input: service.stdout })) {
    url = (JSON.parse(line) as { url?: string }).url ?? '';
    if (url !== '') break;
  }
  service.stdout.resume();
  return {
    url,
    peakMemoryBytes: () => {
      const status = readFileSync(`/proc/${service.pid}/status`, 'utf8');
      return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
    },
    kill: () => {
      service.kill('SIGKILL');
      return exited;
    },
    stop: () => {
      service.kill('SIGTERM');
      return exited;
    },
  };
}
