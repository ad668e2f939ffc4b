import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';
import { isLoopback } from './listen.ts';
import { forbidden } from './problem.ts';

export interface OriginOptions {
  readonly authMode: 'jwt' | 'open';
  /** Origins of web pages that may use the service; undefined if not configured. */
  readonly allowedOrigins: readonly string[] | undefined;
}

/**
 * Refuses what a web page of another site sends to a service without tokens. A browser tells the truth in `Origin`; and a page whose host
 * name has been pointed at this machine (DNS rebinding) is of the same origin, but has that name in `Host`.
 * @throws {Problem} 403 in open mode
 */
function requireLocal({ host = '', origin }: IncomingHttpHeaders): void {
  if (!isLocalUrl(`http://${host}`))
    throw forbidden(
      'AUTH_MODE=open accepts requests to localhost, 127.0.0.1 or [::1] only; the Host header names another',
    );
  if (origin !== undefined && !isLocalUrl(origin))
    throw forbidden(
      'AUTH_MODE=open accepts no requests of web pages of other hosts (the Origin header); use tokens for them',
    );
}

function isLocalUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'));
}

/**
 * For upgrades, which browsers send to any site without asking it first.
 * @throws {Problem} 403 when the page that opens the socket may not
 */
export function checkUpgradeOrigin(headers: IncomingHttpHeaders, { authMode, allowedOrigins }: OriginOptions): void {
  if (authMode === 'open') requireLocal(headers);
  else if (allowedOrigins !== undefined && headers.origin !== undefined && !isAllowed(headers.origin, allowedOrigins))
    throw forbidden('Web pages of this origin may not connect; ALLOWED_ORIGINS does not list it');
}

/**
 * Refuses what a page of another origin makes a browser send with a cookie (cross-site request forgery). SameSite=Strict alone leaves pages of the
 * same host on another port, and of hosts beside it. Browsers tell the truth in `Sec-Fetch-Site` and `Origin`, and pages cannot set them. A read
 * without both passes: its answer cannot be read by another origin. An upgrade needs one of them, because no rule of the browser protects it.
 * @throws {Problem} 403
 */
export function requireOwnPage({ method = 'GET', headers }: IncomingMessage): void {
  const site = headers['sec-fetch-site'];
  const isOwn = site === 'same-origin' || URL.parse(headers.origin ?? '')?.host === headers.host?.toLowerCase();
  if (isOwn && site !== 'cross-site' && site !== 'same-site') return;
  const isRead = (method === 'GET' || method === 'HEAD') && headers.upgrade === undefined;
  if (isRead && (site === undefined || site === 'none') && headers.origin === undefined) return;
  throw forbidden(
    'A session cookie is accepted from pages of this origin only: the Sec-Fetch-Site or Origin header names another, or both are missing. Programs send a token: "Authorization: Bearer …"',
  );
}

/** For HTTP: refuses foreign pages in open mode; else lets pages of `allowedOrigins` read answers (CORS). */
export function checkOrigin({ authMode, allowedOrigins = [] }: OriginOptions): RequestHandler {
  return (request, response, next) => {
    const { method, headers } = request;
    if (authMode === 'open') requireLocal(headers);
    else if (headers.origin !== undefined && isAllowed(headers.origin, allowedOrigins)) {
      response.setHeader('Access-Control-Allow-Origin', headers.origin);
      response.setHeader(
        'Access-Control-Expose-Headers',
        'ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Fleetwire-Stale, X-Request-Id',
      );
      response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
      response.vary('Origin');
      if (method === 'OPTIONS' && headers['access-control-request-method'] !== undefined) {
        response.setHeader('Access-Control-Allow-Methods', 'GET, POST, PUT, PATCH, DELETE');
        response.setHeader(
          'Access-Control-Allow-Headers',
          'Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id',
        );
        response.setHeader('Access-Control-Max-Age', '600');
        response.status(204).end();
        return;
      }
    }
    next();
  };
}

function isAllowed(origin: string, allowedOrigins: readonly string[]): boolean {
  return allowedOrigins.some((allowed) => new URL(allowed).origin === origin);
}
