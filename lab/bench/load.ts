import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { LoadAnswer, LoadRequest, ResultOf } from './load-messages.ts';

export type Load = AsyncDisposable & {
  readonly pid: number;
  /** One at a time. */
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
        once(child, 'exit', { signal }).then(() => [gone]),
      ])) as [LoadAnswer];
      waiting.abort();
      if (answer.type === 'failed') throw new Error(`load generator: ${answer.message}`);
      return answer.result as ResultOf<Request>;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null) return;
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    },
  };
}

const gone: LoadAnswer = { type: 'failed', message: 'it has ended' };
