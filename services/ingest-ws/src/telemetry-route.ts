import type { Claims } from '@fleetwire/contracts/access';
import type { EnvelopeRun } from '@fleetwire/contracts/envelope';
import { parseJsonText } from '@fleetwire/contracts/json-text';
import { type TelemetryAccepted, type TelemetryBody, parseTelemetryBody } from '@fleetwire/contracts/telemetry-http';
import { type ValidationIssue, within } from '@fleetwire/contracts/validation-issue';
import { traceOf } from '@fleetwire/runtime/http-tracing';
import { Problem, badRequest, methodNotAllowed, tooManyRequests, unavailable } from '@fleetwire/runtime/problem';
import { type Request, type RequestHandler, Router, raw } from 'express';
import { rateLimit } from 'express-rate-limit';
import type { Admission } from './admission.ts';
import type { Authenticate } from './authentication.ts';
import type { Intake } from './intake.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';
import type { NackReason } from './refusal.ts';
import type { Arrival } from './tracing.ts';

export interface TelemetryRouteOptions {
  readonly authenticate: Authenticate;
  readonly admission: Admission;
  readonly outcomes: ReadingOutcomes;
  readonly intake: Intake;
  readonly payloadBytesMax: number;
  readonly requestsPerMinuteMax: number;
}

/** `POST /api/v1/telemetry`, also as `/api/v1/data`: answers 202 after the broker's confirm. */
export function telemetryRoute(options: TelemetryRouteOptions): Router {
  const { authenticate, payloadBytesMax, requestsPerMinuteMax } = options;
  const router = Router();
  const paths = ['/api/v1/telemetry', '/api/v1/data'];
  const identify: RequestHandler = async (request, response, next) => {
    response.locals['claims'] = await authenticate(request);
    next();
  };
  const limitRate = rateLimit({
    windowMs: 60_000,
    limit: requestsPerMinuteMax,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    keyGenerator: (_request, response) => {
      const { role, sub } = claimsOf(response.locals);
      return `${role} ${sub}`;
    },
    handler: () => {
      throw tooManyRequests(
        `More than ${requestsPerMinuteMax} requests in a minute (httpRequestsPerMinuteMax)`,
        60_000,
      );
    },
  });
  router
    .route(paths)
    .post(identify, limitRate, raw({ type: () => true, limit: payloadBytesMax }), async (request, response) => {
      const origin = { source: { requestId: request.id as string }, traceContext: traceOf(response) };
      response.status(202).json(await acceptBody(request, claimsOf(response.locals), origin, options));
    })
    .all(() => {
      throw methodNotAllowed(['POST']);
    });
  return router;
}

function claimsOf(locals: Record<string, unknown>): Claims {
  return locals['claims'] as Claims;
}

/** One body travels in one envelope: it is confirmed whole or not at all. */
async function acceptBody(
  request: Request,
  claims: Claims,
  origin: Omit<Arrival, 'runs'>,
  { admission, outcomes, intake }: TelemetryRouteOptions,
): Promise<TelemetryAccepted> {
  const now = Date.now();
  const sender = { claims };
  const { body, bytes } = readBody(request, now);
  const issues: ValidationIssue[] = [];
  const runs: EnvelopeRun[] = [];
  for (const [index, element] of body.elements.entries()) {
    const prefix = body.isArray ? `[${index}]` : '';
    const admitted = element.ok
      ? admission.admit(element.value, sender, now)
      : admission.reject(element.issue, sender, now, element.readings);
    if (!admitted.ok && admitted.issue !== undefined) issues.push(within(prefix, admitted.issue));
    else if (element.ok) for (const { issue } of element.value.issues) issues.push(within(prefix, issue));
    if (admitted.ok && admitted.run.readings.length > 0) runs.push(admitted.run);
  }

  let accepted = 0;
  if (runs.length > 0) {
    const settled = Promise.withResolvers<NackReason | undefined>();
    const submission = outcomes.receive({ ...origin, runs, bytes }, settled.resolve);
    intake.submit(submission);
    const nackReason = await settled.promise;
    if (nackReason !== undefined) throw unavailable(nackReason.message, nackReason.retryAfterMs);
    accepted = submission.readings;
  }
  if (issues.length > 0) throw rejectedElements(issues, accepted);
  return {
    accepted,
    streams: runs.map(({ deviceId, epoch, readings }) => ({
      deviceId,
      epoch,
      firstSeq: readings[0]?.seq ?? 0,
      lastSeq: readings.at(-1)?.seq ?? 0,
    })),
  };
}

function readBody(request: Request, now: number): { body: TelemetryBody; bytes: number } {
  const content = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const json = parseJsonText(decodeUtf8(content));
  if (!json.ok) throw badRequest(json.issue.message, [toFieldProblem(json.issue)]);
  const body = parseTelemetryBody(json.value, now);
  if (!body.ok) throw badRequest(body.issue.message, [toFieldProblem(body.issue)]);
  return { body: body.value, bytes: content.length };
}

function decodeUtf8(content: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw badRequest('The body is not UTF-8');
  }
}

/** Names every rejected element. The other readings are confirmed by now, and `accepted` is their number. */
function rejectedElements(issues: readonly ValidationIssue[], accepted: number): Problem {
  const isForbidden = issues.every(({ code }) => code === 'forbidden') && accepted === 0;
  const safe =
    accepted === 0
      ? 'Nothing was accepted.'
      : `The other ${accepted} readings are accepted and safe: do not send them again.`;
  return new Problem(isForbidden ? 403 : 422, isForbidden ? 'Forbidden' : 'Unprocessable content', {
    detail: `${issues.length} element${issues.length === 1 ? ' was' : 's were'} refused. ${safe}`,
    errors: issues.map(toFieldProblem),
    extensions: { accepted },
  });
}

function toFieldProblem({ field, message, code }: ValidationIssue): { field: string; detail: string; code: string } {
  return { field, detail: message, code };
}
