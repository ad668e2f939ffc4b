import { hash } from 'node:crypto';
import type { Parsed, ValidationIssue } from '@fleetwire/contracts/validation-issue';
import { parserOf } from '@fleetwire/contracts/schema-issue';
import type { Counter } from '@fleetwire/runtime/metrics';
import { badRequest, methodNotAllowed, type FieldProblem, Problem, unprocessable } from '@fleetwire/runtime/problem';
import { Router, type Request, type RequestHandler, type Response } from 'express';
import type { AnswerBudget, AnswerReservation } from './answer-budget.ts';
import { authorize, type Authenticate, type Caller } from './caller.ts';
import { isUnchanged } from './conditional-answers.ts';
import type { CursorSignature } from './cursor-signature.ts';
import { type FormatName, formatOf } from './exports/formats.ts';
import { jsonBody } from './json-body.ts';
import { StreamedAnswer } from './line-stream.ts';
import { parameterParser } from './parameters.ts';
import type { Answered, QuestionAnswers, TimedAnswer } from './question-answers.ts';
import type { QuestionCost, QuestionCosts } from './question-costs.ts';
import type { ReadReplica } from './read-replica.ts';
import type { ApiContext, Route } from './route.ts';

interface Format {
  readonly format?: FormatName;
}

export interface RouterOptions {
  readonly routes: readonly Route[];
  readonly api: ApiContext;
  readonly authenticate: Authenticate;
  /** Runs after authentication (`response.locals.caller`). */
  readonly limitCalls: readonly RequestHandler[];
  readonly cursorSignature: CursorSignature;
  readonly bodyBytesMax: number;
  readonly answers: AnswerBudget;
  readonly questions: QuestionAnswers;
  readonly costs: QuestionCosts;
  readonly refused: Counter<'reason'>;
  readonly replica: ReadReplica | undefined;
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
      router[route.method](path, permit(route), ...(route.body ? jsonBody(bodyBytesMax) : []), handle(route, options));
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

/** Before a body is read. */
function permit({ roles, ownDataOnly }: Route): RequestHandler {
  return (request, response, next) => {
    const caller = callerOf(response);
    authorize(caller, roles, ownDataOnly === undefined ? (request.params['id'] as string | undefined) : caller.sub);
    next();
  };
}

function handle(route: Route, options: RouterOptions): RequestHandler {
  const { api, cursorSignature, answers, questions, costs, refused, replica, pageBytesMax } = options;
  const parseParams = parameterParser('path', route.params);
  const parseQuery = parameterParser('query', route.query);
  const parseHeaders = parameterParser('header', route.headers);
  const headerNames = Object.keys(route.headers.properties);
  const parseBody: (value: unknown) => Parsed<unknown> = route.body
    ? parserOf(route.body)
    : () => ({ ok: true, value: undefined });

  return async (request, response) => {
    const caller = callerOf(response);
    const params = parseParams(request.params);
    const query = parseQuery(request.query);
    const headers = parseHeaders(
      Object.fromEntries(
        headerNames.map((name) => [name, request.headers[name]] as const).filter(([, text]) => text !== undefined),
      ),
    );
    const errors = [...params.errors, ...query.errors, ...headers.errors];
    if (errors.length > 0) throw badRequest('Some parameters are not valid', errors);
    const { cursor } = query.values;
    if (typeof cursor === 'string') query.values['cursor'] = cursorSignature.verify(cursor);
    const body = parseBody(request.body);
    if (!body.ok) {
      const breaksLimit = body.issue.code === 'limit-exceeded' && route.problems.includes(422);
      throw (breaksLimit ? unprocessable : badRequest)('The body is not valid', [bodyProblem(body.issue)]);
    }

    // The client went while its body was read: there is no `close` to come.
    if (response.destroyed) return;
    const reservation = answers.open();
    response.once('close', reservation.close);
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableEnded) gone.abort(new Problem(499, 'Client closed request'));
    });
    let status = route.success.status;
    const now = api.now();
    let isCharged = false;
    // A question that is asked of the primary after the replica has failed is the same question.
    const charge = (cost: QuestionCost): void => {
      if (!isCharged) costs.charge(caller, response, cost);
      isCharged = true;
    };
    // `never`: each handler is typed by its own route's schemas, which have just parsed this call.
    const callWith = (
      { reserve }: AnswerReservation,
      signal: AbortSignal,
      setHeader: (name: string, value: string) => void,
    ) =>
      ({
        params: params.values,
        query: query.values,
        headers: headers.values,
        body: body.value,
        caller,
        pageBytes: { bytesMax: pageBytesMax, onBytes: reserve, signal },
        charge,
        setHeader,
        setStatus: (other: 202) => {
          status = other;
        },
        signal,
        now,
      }) as never;
    const setHeader = (name: string, value: string): void => void response.setHeader(name, value);
    const send = ({ answer, text, values }: Answered, isStale = false): void => {
      if (response.destroyed) return;
      linkNext(request, response, answer);
      // Without a tag, a client asks again once the answer is no longer the last good one.
      if (route.conditional === true && !isStale && isUnchanged(request, response, { answer, text, values, now }))
        return void response.status(304).end();
      reservation.count(text.length);
      const deadline = setTimeout(() => response.destroy(), sendTimeoutMs);
      response.once('close', () => clearTimeout(deadline));
      response.status(status).type('application/json').send(text);
    };

    if (route.question === true && !asksForStream(query.values, headers.values, body.value)) {
      const reader = caller.role === 'device' ? caller.sub : null;
      const key = keyOf([route.operationId, reader, params.values, query.values, body.value]);
      const answered = await questions
        .answer(key, gone.signal, async (signal) => {
          const shared = answers.open();
          const ask = async (databases: ApiContext, replicaLagMs: number | undefined) => {
            const set: [string, string][] = [];
            const answer = await route.handler(
              callWith(shared, signal, (...one) => void set.push(one)),
              databases,
            );
            return { ...answeredOf(withLag(answer, replicaLagMs), cursorSignature), headers: set };
          };
          try {
            return await (replica === undefined ? ask(api, undefined) : replica.read(api, ask));
          } finally {
            shared.close();
          }
        })
        .catch((error: unknown) => {
          countRefusal(error, refused);
          throw error;
        });
      for (const [name, value] of answered.headers) setHeader(name, value);
      return send(withFreshness(answered, setHeader), answered.stale);
    }
    const answered = await route.handler(callWith(reservation, gone.signal, setHeader), api);
    if (answered instanceof StreamedAnswer) {
      response.status(route.success.status).type(route.success.contentType ?? 'application/x-ndjson');
      return answered.send(response, reservation);
    }
    send(answeredOf(answered, cursorSignature));
  };
}

/** As short for a question with a large body as for any other: many are remembered. */
function keyOf(question: readonly unknown[]): string {
  return hash('sha256', JSON.stringify(question), 'base64url');
}

/** Of a route whose answer may be a stream, which has one reader. */
function asksForStream(query: Format, headers: { readonly accept?: string }, body: unknown): boolean {
  const format = formatOf(query.format ?? (body as Format | undefined)?.format, headers.accept);
  return format !== undefined && format.name !== 'json';
}

function withLag(answer: unknown, replicaLagMs: number | undefined): unknown {
  if (replicaLagMs === undefined) return answer;
  const { covers } = answer as { readonly covers?: object };
  return { ...(answer as object), covers: { ...covers, replicaLagMs } };
}

function answeredOf(answer: unknown, cursorSignature: CursorSignature): Answered {
  const signed = signNext(answer, cursorSignature) as object;
  const { asOf, covers, cost, ...rest } = signed as Readonly<Record<'asOf' | 'covers' | 'cost', unknown>>;
  if ((asOf ?? cost) === undefined || Object.keys(rest).length === 0)
    return { answer: signed, text: JSON.stringify(signed) };
  // The values are most of it, and the validator needs their text without what differs between equal answers.
  const values = JSON.stringify(rest);
  const others = JSON.stringify({ asOf, covers, cost });
  return { answer: signed, text: `${values.slice(0, -1)},${others.slice(1)}`, values };
}

/** The answer to a question says whether it is the last good one, and how old it is then. */
function withFreshness(
  { answer, text, values, asOf, stale }: TimedAnswer,
  setHeader: (name: string, value: string) => void,
): Answered {
  if (!stale) return { answer, text: `{"stale":false,${text.slice(1)}`, values };
  setHeader('X-Fleetwire-Stale', String(Math.max(0, Math.round((Date.now() - asOf) / 1_000))));
  const at = new Date(asOf).toISOString();
  return { answer: { ...answer, asOf: at }, text: `{"stale":true,"asOf":"${at}",${text.slice(1)}` };
}

function countRefusal(error: unknown, refused: Counter<'reason'>): void {
  if (!(error instanceof Problem)) return;
  if (error.type === 'urn:fleetwire:problem:too-expensive') refused.inc({ reason: 'too-expensive' });
  else if (error.status === 503) refused.inc({ reason: 'unavailable' });
  else if (error.status === 504) refused.inc({ reason: 'timeout' });
}

export function bodyProblem({ field, message }: ValidationIssue): FieldProblem {
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
