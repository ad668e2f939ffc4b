import { fork } from 'node:child_process';
import { once } from 'node:events';
import { endChild } from './load.ts';

export interface BareQueryServer extends AsyncDisposable {
  readonly pid: number;
  readonly url: string;
}

/** A bare `node:http` handler that answers the name of a statement with its rows as JSON. */
export async function startBareQueryServer(
  databaseUrl: string,
  statements: Readonly<Record<string, string>>,
): Promise<BareQueryServer> {
  const child = fork(new URL('bare-query-main.ts', import.meta.url), [databaseUrl, JSON.stringify(statements)]);
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the bare query server has exited')));
  ended.catch(() => {});
  const [port] = (await Promise.race([once(child, 'message'), ended])) as [number];
  return { pid: child.pid!, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => endChild(child) };
}
