import { createFleetwireClient, type FleetwireClient } from '@fleetwire/client/client';
import { type Command, Option } from 'commander';

const requestTimeoutMs = 30_000;

export interface Connection {
  readonly url: string;
  readonly token?: string;
  readonly json: boolean;
}

/** Adds the options of every command that talks to an installation. */
export function withConnection(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', 'URL of query-api').env('FLEETWIRE_URL').default('http://127.0.0.1:8081'))
    .addOption(new Option('--token <token>', 'bearer token').env('FLEETWIRE_TOKEN'))
    .option('--json', 'print JSON', false);
}

/**
 * @param signal cancels the requests in flight
 * @param timeoutMs of a whole answer
 */
export function createApi(
  { url, token }: Pick<Connection, 'url' | 'token'>,
  signal: AbortSignal,
  { timeoutMs = requestTimeoutMs }: { readonly timeoutMs?: number } = {},
): FleetwireClient {
  return createFleetwireClient({
    url,
    token,
    fetch: async (request) => {
      const { origin } = new URL(request.url);
      const ending = timeoutMs === Infinity ? signal : AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      const response = await fetch(request, { signal: ending }).catch((error: unknown) => {
        signal.throwIfAborted();
        throw new Error(`${origin} does not answer: ${causeOf(error)}`, { cause: error });
      });
      if (response.status === 401 && token === undefined)
        throw new Error(`${origin} requires a token: pass --token, or set FLEETWIRE_TOKEN`);
      return response;
    },
  });
}

function causeOf(error: unknown): string {
  const { message, cause } = error as Error;
  const { code, message: reason } = (cause ?? {}) as { code?: string; message?: string };
  return code ?? reason ?? message;
}
