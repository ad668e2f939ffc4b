import type { Claims } from '@fleetwire/contracts/access';
import type { EnvelopeRun } from '@fleetwire/contracts/envelope';
import { limits } from '@fleetwire/contracts/limits';
import { type JsonText, parseJsonText } from '@fleetwire/contracts/json-text';
import { type PlainDataAccepted, parsePlainData, plainUpdate } from '@fleetwire/contracts/plain-dialect';
import { type TelemetryAccepted, type TelemetryBody, parseTelemetryBody } from '@fleetwire/contracts/telemetry-http';
import { type ValidationIssue, within } from '@fleetwire/contracts/validation-issue';
import { plainMount } from '@fleetwire/runtime/http';
import { traceOf } from '@fleetwire/runtime/http-tracing';
import { Problem, badRequest, methodNotAllowed, tooManyRequests, unavailable } from '@fleetwire/runtime/problem';
import { type Request, type RequestHandler, type Response, Router, raw } from 'express';
import { rateLimit } from 'express-rate-limit';
import type { Admission } from './admission.ts';
import { type Authenticate, authorizePublisher } from './authentication.ts';
import type { Intake } from './intake.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';
import type { IngestMetrics } from './metrics.ts';
import type { NackReason } from './nack-reasons.ts';
import type { SubjectShare, SubjectShares } from './subject-shares.ts';
import type { Arrival } from './tracing.ts';

export interface TelemetryRouteOptions {
  readonly authenticate: Authenticate;
  readonly admission: Admission;
  readonly outcomes: ReadingOutcomes;
  readonly intake: Intake;
  readonly payloadBytesMax: number;
  readonly requestsPerMinuteMax: number;
  /** Of one subject. */
  readonly requestsInFlightMax: number;
  readonly shares: SubjectShares;
  readonly metrics: IngestMetrics;
}

/** Rejected readings and elements that an answer names: as many as a frame may have readings. The others are counted. */
const errorsMax = limits.readingsPerFrameMax;

/** `POST /api/v1/telemetry`, also as `/api/v1/data`, and `POST /api/data` of the plain dialect: answered after the broker's confirm. */
export function telemetryRoute(options: TelemetryRouteOptions): Router {
  const { authenticate, payloadBytesMax, requestsPerMinuteMax } = options;
  const router = Router();
  const paths = ['/api/v1/telemetry', '/api/v1/data'];
  const identify: RequestHandler = async (request, response, next) => {
    const caller = await authenticate(request);
    authorizePublisher(caller);
    response.locals['claims'] = caller.claims;
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
  const accepting = [
    identify,
    limitRate,
    limitInFlight(options),
    raw({ type: () => true, limit: payloadBytesMax }),
  ] satisfies RequestHandler[];
  const accept = (request: Request, response: Response, received: ReceivedBody): Promise<EnvelopeRun[]> => {
    const origin = { source: { requestId: request.id as string }, traceContext: traceOf(response) };
    return acceptBody(received, callerOf(response.locals), origin, options);
  };
  const onlyPost: RequestHandler = () => {
    throw methodNotAllowed(['POST']);
  };
  router
    .route(paths)
    .post(...accepting, async (request, response) => {
      const runs = await accept(request, response, readBody(request, Date.now()));
      response.status(202).json(acceptedOf(runs));
    })
    .all(onlyPost);
  router
    .route(`${plainMount}/data`)
    .post(...accepting, async (request, response) => {
      const received = readPlainBody(request, Date.now(), claimsOf(response.locals));
      response.json(plainAnswerOf(await accept(request, response, received)));
    })
    .all(onlyPost);
  return router;
}

/** Before the body is read, which takes memory. */
function limitInFlight({ shares, requestsInFlightMax, metrics }: TelemetryRouteOptions): RequestHandler {
  return (_request, response, next) => {
    const share = shares.open(claimsOf(response.locals));
    response.locals['share'] = share;
    share.requests += 1;
    response.once('close', () => {
      share.requests -= 1;
      share.close();
    });
    if (share.requests <= requestsInFlightMax || !share.isLimited) return next();
    metrics.limitsReached.inc({ limit: 'httpRequestsInFlightPerSubjectMax' });
    const text = `More than ${requestsInFlightMax} requests of your subject are in flight (httpRequestsInFlightPerSubjectMax); send further ones after these are answered`;
    throw tooManyRequests(text, 1_000);
  };
}

interface Caller {
  readonly claims: Claims;
  readonly share: SubjectShare;
}

function callerOf(locals: Record<string, unknown>): Caller {
  return { claims: claimsOf(locals), share: locals['share'] as SubjectShare };
}

function claimsOf(locals: Record<string, unknown>): Claims {
  return locals['claims'] as Claims;
}

interface ReceivedBody {
  readonly body: TelemetryBody;
  readonly bytes: number;
  readonly now: number;
}

/** One body travels in one envelope: it is confirmed whole or not at all. */
async function acceptBody(
  { body, bytes, now }: ReceivedBody,
  { claims, share }: Caller,
  origin: Omit<Arrival, 'runs'>,
  { admission, outcomes, intake, metrics }: TelemetryRouteOptions,
): Promise<EnvelopeRun[]> {
  const sender = { claims };
  const rejected = new RejectedElements();
  const runs: EnvelopeRun[] = [];
  for (const [index, element] of body.elements.entries()) {
    const prefix = body.isArray ? `[${index}]` : '';
    const admitted = element.ok
      ? admission.admit(element.value, sender, now)
      : admission.reject(element.issue, sender, now, element.readingCount);
    if (!admitted.ok && admitted.issue !== undefined) rejected.add(admitted.issue, prefix);
    else if (element.ok) for (const { issue } of element.value.issues) rejected.add(issue, prefix);
    if (admitted.ok && admitted.run.readings.length > 0) runs.push(admitted.run);
  }

  let accepted = 0;
  if (runs.length > 0) {
    const settled = Promise.withResolvers<NackReason | undefined>();
    const excess = share.excess(bytes);
    share.begin(bytes);
    const submission = outcomes.receive({ ...origin, runs, bytes }, (nackReason) => {
      share.settle(bytes);
      settled.resolve(nackReason);
    });
    if (excess === undefined) intake.submit(submission);
    else submission.nack(excess);
    const nackReason = await settled.promise;
    if (excess !== undefined) {
      metrics.limitsReached.inc({ limit: 'subjectBytesInFlightMax' });
      throw tooManyRequests(excess.message, excess.retryAfterMs);
    }
    if (nackReason !== undefined) throw unavailable(nackReason.message, nackReason.retryAfterMs);
    accepted = submission.readingCount;
  }
  if (rejected.count > 0) throw rejected.problem(accepted);
  return runs;
}

function acceptedOf(runs: readonly EnvelopeRun[]): TelemetryAccepted {
  return {
    accepted: runs.reduce((sum, { readings }) => sum + readings.length, 0),
    streams: runs.map(({ deviceId, epoch, readings }) => ({
      deviceId,
      epoch,
      firstSeq: readings[0]?.seq ?? 0,
      lastSeq: readings.at(-1)?.seq ?? 0,
    })),
  };
}

function plainAnswerOf(runs: readonly EnvelopeRun[]): PlainDataAccepted {
  const { deviceId, receivedAt, readings } = runs[0]!;
  return {
    ok: true,
    stored: true,
    event: plainUpdate({ deviceId, receivedAt, metrics: readings[0]!.metrics }, 'rest'),
  };
}

function readBody(request: Request, now: number): ReceivedBody {
  const { json, bytes } = readJson(request);
  const body = parseTelemetryBody(json, now);
  if (!body.ok) throw badRequest(body.issue.message, [toFieldProblem(body.issue)]);
  return { body: body.value, bytes, now };
}

function readPlainBody(request: Request, now: number, { role }: Claims): ReceivedBody {
  const { json, bytes } = readJson(request);
  const element = parsePlainData(json, now, role === 'device');
  return { body: { isArray: false, elements: [element.ok ? element : { ...element, readingCount: 1 }] }, bytes, now };
}

function readJson(request: Request): { json: JsonText; bytes: number } {
  const content = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const json = parseJsonText(decodeUtf8(content));
  if (!json.ok) throw badRequest(json.issue.message, [toFieldProblem(json.issue)]);
  return { json: json.value, bytes: content.length };
}

function decodeUtf8(content: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw badRequest('The body is not UTF-8');
  }
}

/** Names the first {@link errorsMax} rejected elements and readings, and counts all. */
class RejectedElements {
  count = 0;
  readonly #named: ValidationIssue[] = [];
  #isForbidden = true;

  add(issue: ValidationIssue, prefix: string): void {
    this.count += 1;
    this.#isForbidden &&= issue.code === 'forbidden';
    if (this.#named.length < errorsMax) this.#named.push(within(prefix, issue));
  }

  /** @param accepted the other readings, which are confirmed by now */
  problem(accepted: number): Problem {
    const isForbidden = this.#isForbidden && accepted === 0;
    const omitted = this.count - this.#named.length;
    const named = omitted === 0 ? '' : `, of which ${this.#named.length} are named`;
    const safe =
      accepted === 0
        ? 'Nothing was accepted.'
        : `The other ${accepted} readings are accepted and safe: do not send them again.`;
    return new Problem(isForbidden ? 403 : 422, isForbidden ? 'Forbidden' : 'Unprocessable content', {
      detail: `${this.count} element${this.count === 1 ? ' was' : 's were'} refused${named}. ${safe}`,
      errors: this.#named.map(toFieldProblem),
      extensions: { accepted, ...(omitted === 0 ? {} : { errorsOmitted: omitted }) },
    });
  }
}

function toFieldProblem({ field, message, code }: ValidationIssue): { field: string; detail: string; code: string } {
  return { field, detail: message, code };
}
