import type { Parsed, ValidationIssue } from '@fleetwire/contracts/validation-issue';
import { parserOf } from '@fleetwire/contracts/schema-issue';
import { badRequest, methodNotAllowed, type FieldProblem } from '@fleetwire/runtime/problem';
import { Router, type Request, type RequestHandler, type Response } from 'express';
import type { AnswerBudget } from './answer-budget.ts';
import { authorize, type Authenticate, type Caller } from './caller.ts';
import type { CursorSignature } from './cursor-signature.ts';
import { jsonBody } from './json-body.ts';
import { parameterParser } from './parameters.ts';
import type { ApiContext, Route } from './route.ts';

export interface RouterOptions {
  readonly routes: readonly Route[];
  readonly api: ApiContext;
  readonly authenticate: Authenticate;
  /** Runs after authentication (`response.locals.caller`). */
  readonly limitCalls: readonly RequestHandler[];
  readonly cursorSignature: CursorSignature;
  readonly bodyBytesMax: number;
  readonly answers: AnswerBudget;
  readonly pageBytesMax: number;
}

/** A client that has not read its answer after this time is disconnected: the answer takes part of the budget of all. */
const sendTimeoutMs = 60_000;

/** The routes as an express router to mount at `/api/v1`. */
export function createRouter(options: RouterOptions): Router {
  const { routes, authenticate, limitCalls, bodyBytesMax } = options;
  const router = Router({ caseSensitive: true });
  router.use(async (request, response, next) => {
    response.setHeader('Cache-Control', 'no-store');
    response.locals['caller'] = await authenticate(request);
    next();
  });
  router.use(...limitCalls);
  for (const [path, siblings] of Map.groupBy(routes, (route) => expressPath(route.path))) {
    for (const route of siblings)
      router[route.method](path, ...(route.body ? jsonBody(bodyBytesMax) : []), handle(route, options));
    const allowed = siblings.flatMap(({ method }) => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]));
    router.all(path, () => {
      throw methodNotAllowed(allowed);
    });
  }
  return router;
}

export function callerOf(response: Response): Caller {
  return response.locals['caller'] as Caller;
}

function handle(route: Route, options: RouterOptions): RequestHandler {
  const { api, cursorSignature, answers, pageBytesMax } = options;
  const parseParams = parameterParser('path', route.params);
  const parseQuery = parameterParser('query', route.query);
  const parseBody: (value: unknown) => Parsed<unknown> = route.body
    ? parserOf(route.body)
    : () => ({ ok: true, value: undefined });

  return async (request, response) => {
    const caller = callerOf(response);
    authorize(caller, route.roles, request.params['id'] as string | undefined);
    const params = parseParams(request.params);
    const query = parseQuery(request.query);
    const errors = [...params.errors, ...query.errors];
    if (errors.length > 0) throw badRequest('Some parameters are not valid', errors);
    const { cursor } = query.values;
    if (typeof cursor === 'string') query.values['cursor'] = cursorSignature.verify(cursor);
    const body = parseBody(request.body);
    if (!body.ok) throw badRequest('The body is not valid', [bodyProblem(body.issue)]);

    const reservation = answers.open();
    response.once('close', reservation.release);
    const pageBytes = { bytesMax: pageBytesMax, onBytes: reservation.reserve };

    // `never`: each handler is typed by its own route's schemas, which have just parsed this call.
    const call = { params: params.values, query: query.values, body: body.value, caller, pageBytes, now: api.now() };
    const answer = signNext(await route.handler(call as never, api), cursorSignature);
    linkNext(request, response, answer);
    const text = JSON.stringify(answer);
    reservation.count(text.length);
    const deadline = setTimeout(() => response.destroy(), sendTimeoutMs);
    response.once('close', () => clearTimeout(deadline));
    response.status(route.success.status).type('application/json').send(text);
  };
}

function bodyProblem({ field, message }: ValidationIssue): FieldProblem {
  return { field: field === '' ? 'body' : `body.${field}`, detail: message };
}

/** Answers of lists, with their cursor signed. */
function signNext(answer: unknown, cursorSignature: CursorSignature): unknown {
  const next = nextOf(answer);
  return next === undefined ? answer : { ...(answer as object), page: { next: cursorSignature.sign(next) } };
}

function nextOf(answer: unknown): string | undefined {
  return (answer as { page?: { next?: string | null } }).page?.next ?? undefined;
}

/** The next page of a list (RFC 8288). */
function linkNext(request: Request, response: Response, answer: unknown): void {
  const next = nextOf(answer);
  if (next === undefined) return;
  const target = new URL(request.originalUrl, 'http://relative');
  target.searchParams.set('cursor', next);
  response.setHeader('Link', `<${target.pathname}${target.search}>; rel="next"`);
}

function expressPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}
