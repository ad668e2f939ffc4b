import { type Claims, mayPublishAs } from '@fleetwire/contracts/access';
import type { EnvelopeRun } from '@fleetwire/contracts/envelope';
import { parseJson } from '@fleetwire/contracts/json-text';
import { type ValidationIssue, refused, within } from '@fleetwire/contracts/validation-issue';
import type { Reading } from '@fleetwire/contracts/reading';
import { type TelemetryAccepted, type TelemetryBody, parseTelemetryBody } from '@fleetwire/contracts/telemetry-http';
import { traceOf } from '@fleetwire/runtime/http-tracing';
import { Problem, badRequest, methodNotAllowed, tooManyRequests, unavailable } from '@fleetwire/runtime/problem';
import { type Request, type RequestHandler, Router, raw } from 'express';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import type { Authenticate } from './authentication.ts';
import type { Accounts } from './accounts.ts';
import type { AutoSequence } from './auto-sequence.ts';
import type { Intake, Refusal, Submission } from './intake.ts';
import type { IngestMetrics } from './metrics.ts';

export interface TelemetryRouteOptions {
  readonly authenticate: Authenticate;
  readonly intake: Intake;
  readonly autoSequence: AutoSequence;
  readonly accounts: Accounts;
  readonly metrics: IngestMetrics;
  readonly payloadBytesMax: number;
  readonly requestsPerMinuteMax: number;
}

/** `POST /api/v1/telemetry`, also as `/api/telemetry` and `/api/data`: 202 once the broker has confirmed. */
export function telemetryRoute(options: TelemetryRouteOptions): Router {
  const { authenticate, payloadBytesMax, requestsPerMinuteMax } = options;
  const router = Router();
  const paths = ['/api/v1/telemetry', '/api/telemetry', '/api/data', '/api/v1/data'];
  const identify: RequestHandler = async (_request, response, next) => {
    response.locals['claims'] = await authenticate(_request);
    next();
  };
  const limitRate = rateLimit({
    windowMs: 60_000,
    limit: requestsPerMinuteMax,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    keyGenerator: (request, response) => `${claimsOf(response.locals).sub} ${ipKeyGenerator(request.ip ?? '')}`,
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
      const arrival = { source: { requestId: request.id as string }, from: traceOf(response) };
      response.status(202).json(await accept(request, claimsOf(response.locals), arrival, options));
    })
    .all(() => {
      throw methodNotAllowed(['POST']);
    });
  return router;
}

function claimsOf(locals: Record<string, unknown>): Claims {
  return locals['claims'] as Claims;
}

async function accept(
  request: Request,
  claims: Claims,
  arrival: Pick<Submission, 'source' | 'from'>,
  options: TelemetryRouteOptions,
): Promise<TelemetryAccepted> {
  const { intake, autoSequence, accounts, metrics } = options;
  const now = Date.now();
  const { body, bytes } = readBody(request, now);
  const issues = body.issues.map(({ issue }) => issue);
  const runs: EnvelopeRun[] = [];
  for (const { index, telemetry } of body.elements) {
    const deviceId = telemetry.deviceId ?? claims.sub;
    if (!mayPublishAs(claims, deviceId)) {
      issues.push(
        within(
          body.isArray ? `[${index}]` : '',
          refused('forbidden', 'deviceId', `is "${deviceId}"; this token publishes as "${claims.sub}" only`).issue,
        ),
      );
      continue;
    }
    const count = telemetry.observations.length;
    const { epoch, seq } =
      telemetry.seq === undefined ? autoSequence.take(deviceId, count) : { epoch: telemetry.epoch, seq: telemetry.seq };
    if (epoch === undefined) {
      issues.push(
        within(
          body.isArray ? `[${index}]` : '',
          refused('missing-field', 'epoch', 'is missing; a seq has its meaning within an epoch').issue,
        ),
      );
      continue;
    }
    const readings = telemetry.observations.flatMap((observation, offset): Reading[] =>
      observation === undefined ? [] : [{ seq: seq + offset, ...observation }],
    );
    if (readings.length > 0) runs.push({ deviceId, epoch, receivedAt: now, readings });
  }

  const count = runs.reduce((sum, run) => sum + run.readings.length, 0);
  metrics.readings.add('received', count + issues.length);
  metrics.readings.add('rejected', issues.length);
  if (issues.length > 0) accounts.count('rejected', claims.sub, now, issues.length);
  for (const { code } of issues) metrics.refusedFrames.inc({ code });
  if (count > 0) await confirmed(intake, metrics, { ...arrival, runs, readings: count, bytes });
  if (issues.length > 0) throw refusedElements(issues, count);
  return {
    accepted: count,
    streams: runs.map(({ deviceId, epoch, readings }) => ({
      deviceId,
      epoch,
      firstSeq: readings[0]?.seq ?? 0,
      lastSeq: readings.at(-1)?.seq ?? 0,
    })),
  };
}

function readBody(request: Request, now: number): { body: TelemetryBody & { isArray: boolean }; bytes: number } {
  const content = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const json = parseJson(decodeUtf8(content));
  if (!json.ok) throw badRequest(json.issue.message, [toFieldProblem(json.issue)]);
  const body = parseTelemetryBody(json.value, now);
  if (!body.ok) throw badRequest(body.issue.message, [toFieldProblem(body.issue)]);
  return { body: { ...body.value, isArray: Array.isArray(json.value) }, bytes: content.length };
}

function decodeUtf8(content: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw badRequest('The body is not UTF-8');
  }
}

/** One body travels in one envelope: it is confirmed whole or not at all. */
async function confirmed(
  intake: Intake,
  metrics: IngestMetrics,
  submission: Omit<Submission, 'settle'>,
): Promise<void> {
  const refusal = await new Promise<Refusal | undefined>((settle) => {
    const refusedAtOnce = intake.submit({ ...submission, settle });
    if (refusedAtOnce !== undefined) settle(refusedAtOnce);
  });
  metrics.readings.add(refusal === undefined ? 'confirmed' : 'nacked', submission.readings);
  if (refusal !== undefined) throw unavailable(refusal.message, refusal.retryAfterMs);
}

/** Names every bad element. Their neighbours are safe already, and `accepted` says how many they are. */
function refusedElements(issues: readonly ValidationIssue[], accepted: number): Problem {
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
