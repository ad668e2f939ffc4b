import type { IncomingHttpHeaders } from 'node:http';
import { sessionCookieOf } from '@fleetwire/contracts/session';

/** The token of a session in the `Cookie` header (RFC 6265, 5.4). The first counts where a cookie of the same name is set for several paths. */
export function readSessionCookie({ cookie, host }: Pick<IncomingHttpHeaders, 'cookie' | 'host'>): string | undefined {
  const name = sessionCookieOf(host);
  const pairs = cookie?.split(';').map((pair) => pair.trim()) ?? [];
  const value = pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
  return value === '' ? undefined : value;
}
