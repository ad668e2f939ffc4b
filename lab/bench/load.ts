import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { LoadAnswer, LoadRequest, ResultOf } from './load-messages.ts';

export type Load = AsyncDisposable & {
  readonly pid: number;
  /** One request at a time. */
  request<Request extends LoadRequest>(request: Request): Promise<ResultOf<Request>>;
};

export function startLoad(): Load {
  const child = fork(new URL('load-generator.ts', import.meta.url));
  return {
    pid: child.pid!,
    request: async <Request extends LoadRequest>(request: Request) => {
      child.send(request);
      const waiting = new AbortController();
      const { signal } = waiting;
      const [answer] = (await Promise.race([
        once(child, 'message', { signal }),
        once(child, 'exit', { signal }).then(() => [exited]),
      ])) as [LoadAnswer];
      waiting.abort();
      if (answer.type === 'failed') throw new Error(`load generator: ${answer.message}`);
      return answer.result as ResultOf<Request>;
    },
    [Symbol.asyncDispose]: () => endChild(child),
  };
}

/** Ends a child process of the bench's own (SIGTERM), and waits for its exit. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill();
  await exited;
}

const exited: LoadAnswer = { type: 'failed', message: 'it has exited' };
