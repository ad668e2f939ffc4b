import { roles } from '@fleetwire/contracts/access';
import { parserOf } from '@fleetwire/contracts/schema-issue';
import { SessionState, sessionCookie, sessionCookieOf } from '@fleetwire/contracts/session';
import type { Authenticate as AuthenticateToken } from '@fleetwire/auth/authenticate';
import { requireOwnPage } from '@fleetwire/runtime/origins';
import { badRequest, forbidden, methodNotAllowed } from '@fleetwire/runtime/problem';
import type { RefusedTokens } from '@fleetwire/runtime/refused-tokens';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import Type from 'typebox';
import type { Authenticate, Caller } from '../caller.ts';
import { jsonBody } from '../json-body.ts';
import { refuseParameters } from '../parameters.ts';
import { closed, type Operation } from '../route.ts';
import { bodyProblem, callerOf } from '../router.ts';
import { isoTime } from '../time-range.ts';
import type { BegunSession, Sessions } from './sessions.ts';

export interface SessionRoutesOptions {
  readonly sessions: Sessions;
  readonly authMode: 'jwt' | 'open';
  readonly authenticate: Authenticate;
  /** Accepts signed tokens only. */
  readonly authenticateToken: AuthenticateToken;
  readonly refusedTokens: RefusedTokens;
  readonly limitCalls: RequestHandler;
}

const SignIn = Type.Union(
  [
    Type.Object({ token: Type.String({ minLength: 1, maxLength: 16_384 }) }, { additionalProperties: false }),
    Type.Object({ code: Type.String({ minLength: 1, maxLength: 256 }) }, { additionalProperties: false }),
  ],
  { title: 'SignIn', description: 'A token, or a one-time code of POST /session/codes' },
);

const SignInCode = Type.Object(
  {
    code: Type.String({ description: 'For POST /session, once; the dashboard takes it from /sign-in#code=…' }),
    expiresAt: Type.String({ format: 'date-time' }),
  },
  { title: 'SignInCode' },
);

/** A token of 16 KB and its JSON. */
const bodyBytesMax = 20 * 1024;
const parseSignIn = parserOf(SignIn);

/**
 * `/session`: a browser exchanges a token or a one-time code for a cookie. Apart from the other routes, because signing in needs no caller, and
 * because a page asks for its session while it has as many calls in flight as a caller may.
 */
export function sessionRoutes(options: SessionRoutesOptions): Router {
  const { sessions, authMode, authenticate, authenticateToken, refusedTokens, limitCalls } = options;
  const router = Router({ caseSensitive: true, strict: true });
  const noStore: RequestHandler = (request, response, next) => {
    response.setHeader('Cache-Control', 'no-store');
    refuseParameters(request);
    next();
  };
  const identify: RequestHandler = async (request, response, next) => {
    response.locals['caller'] = await authenticate(request);
    next();
  };
  const known = [noStore, identify];
  const checks = [...known, limitCalls];

  const callerByToken = async (request: Request, token: string): Promise<Caller> => {
    const caller = await authenticateToken(`Bearer ${token}`);
    if (!caller.ok) throw refusedTokens.answer(request, caller.detail, 'invalid_token');
    const { sub, role, exp } = caller.claims;
    // A cookie would make a device of every browser that has it, and presence would show the device as online.
    if (role === 'device')
      throw forbidden('A token of role device begins no session; sign in with one of analyst, operator or admin');
    const expiresAt = exp === undefined ? undefined : exp * 1_000;
    return { sub, role, authorization: undefined, key: caller.key, expiresAt, session: undefined };
  };
  /** A token is checked before its caller's calls are limited; a code has no caller yet, and is valid once. */
  const identifySignIn: RequestHandler = async (request, response, next) => {
    const body = parseSignIn(request.body);
    if (!body.ok) throw badRequest('The body must have either "token" or "code"', [bodyProblem(body.issue)]);
    if (authMode === 'open') response.locals['caller'] = await authenticate(request);
    else if ('token' in body.value) response.locals['caller'] = await callerByToken(request, body.value.token);
    next();
  };
  const limitKnown: RequestHandler = (request, response, next) =>
    response.locals['caller'] === undefined ? next() : limitCalls(request, response, next);
  const begin = async (request: Request, caller: Caller | undefined): Promise<BegunSession> => {
    if (caller !== undefined) {
      const { sub, role, key, expiresAt = Infinity } = caller;
      return sessions.begin({ subject: sub, role, key: key ?? null }, expiresAt, 'token');
    }
    const begun = await sessions.exchange((request.body as { readonly code: string }).code);
    if (begun !== undefined) return begun;
    const detail = 'The code is refused: it was used, has expired or was never made; ask for another, or sign in';
    throw refusedTokens.answer(request, detail, 'invalid_token');
  };

  const signIn = [noStore, refuseForeignSignIn, ...jsonBody(bodyBytesMax), identifySignIn, limitKnown];
  router.post('/session', ...signIn, async (request, response) => {
    const caller = response.locals['caller'] as Caller | undefined;
    if (caller !== undefined && authMode === 'open') return void response.status(201).json(stateOf(caller));
    const { token, subject, role, key, expiresAt } = await begin(request, caller);
    setCookie(request, response, token);
    const state = { sub: subject, role: role as Caller['role'], key: key ?? undefined, expiresAt };
    response.status(201).json(stateOf(state));
  });
  // Not among the calls of the caller: each ingest-ws asks it every 2 s for each socket of a session, in the caller's name.
  router.get('/session', ...known, (_request, response) => void response.json(stateOf(callerOf(response))));
  router.delete('/session', ...checks, async (request, response) => {
    const { session } = callerOf(response);
    if (session === undefined)
      throw badRequest('This call comes with a token, not with a session: a token ends when it expires');
    await sessions.end(session);
    setCookie(request, response, undefined);
    response.status(204).end();
  });
  router.post('/session/codes', ...checks, async (_request, response) => {
    const caller = callerOf(response);
    if (caller.role === 'device') throw forbidden('The role "device" begins no session');
    const { code, expiresAt } = await sessions.createCode(caller);
    response.status(201).json({ code, expiresAt: isoTime(expiresAt) });
  });
  router.all('/session', () => {
    throw methodNotAllowed(['GET', 'HEAD', 'POST', 'DELETE']);
  });
  router.all('/session/codes', () => {
    throw methodNotAllowed(['POST']);
  });
  return router;
}

/** A page of another origin could sign the browser in as someone else, who then reads what is done in it. */
const refuseForeignSignIn: RequestHandler = (request, _response, next) => {
  const { origin, 'sec-fetch-site': site } = request.headers;
  if (origin !== undefined || site !== undefined) requireOwnPage(request);
  next();
};

function stateOf({ sub, role, key, expiresAt }: Pick<Caller, 'sub' | 'role' | 'key' | 'expiresAt'>): SessionState {
  return { subject: sub, role, expiresAt: expiresAt === undefined ? null : isoTime(expiresAt), key: key ?? null };
}

/** Without an expiry: the browser forgets it when it is closed. */
function setCookie(request: Request, response: Response, token: string | undefined): void {
  const { host, origin = '' } = request.headers;
  // Where a proxy in front of nginx ends TLS, only the browser knows that the page came by it.
  const secure = request.secure || origin.startsWith('https:');
  const attributes = { httpOnly: true, sameSite: 'strict', path: '/', secure } as const;
  if (token === undefined) response.clearCookie(sessionCookieOf(host), attributes);
  else response.cookie(sessionCookieOf(host), token, attributes);
}

const shared = {
  tag: 'Session',
  params: closed({}),
  query: closed({}),
  headers: closed({}),
  problems: [],
} as const;
const setCookieHeader = {
  'Set-Cookie': `${sessionCookie}, or ${sessionCookie}_8000 at an address with the port 8000: HttpOnly, SameSite=Strict, and Secure over TLS`,
};

/** For the OpenAPI document. */
export const sessionOperations: readonly Operation[] = [
  {
    ...shared,
    method: 'post',
    path: '/session',
    operationId: 'signIn',
    summary: 'Exchange a token or a one-time code for a session cookie',
    description:
      'For browsers; programs send their token with each call. Needs no token itself. The session ends with the token at the latest, when its key is removed, and after SESSION_SECONDS_MAX. Every route accepts the cookie; calls other than GET and HEAD, and /ws, from pages of this origin only.',
    roles: ['analyst', 'operator', 'admin'],
    body: SignIn,
    success: { status: 201, description: 'The session', schema: SessionState, headers: setCookieHeader },
  },
  {
    ...shared,
    method: 'get',
    path: '/session',
    operationId: 'getSession',
    summary: 'Who calls, and until when',
    roles: [...roles],
    success: { status: 200, description: 'The session, or the token of the call', schema: SessionState },
  },
  {
    ...shared,
    method: 'delete',
    path: '/session',
    operationId: 'signOut',
    summary: 'End the session',
    description: 'Its live sockets and streams end within 5 s, with 4401.',
    roles: [...roles],
    success: { status: 204, description: 'The session has ended', schema: Type.Null(), headers: setCookieHeader },
  },
  {
    ...shared,
    method: 'post',
    path: '/session/codes',
    operationId: 'createSignInCode',
    summary: 'A one-time code for one more session of the caller',
    description: 'Valid once, for 10 minutes. The session has the role of the caller, and ends with its token.',
    roles: ['analyst', 'operator', 'admin'],
    success: { status: 201, description: 'The code; only its hash is stored', schema: SignInCode },
  },
];
