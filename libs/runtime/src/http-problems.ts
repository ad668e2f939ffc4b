import type { ErrorRequestHandler } from 'express';
import type { Logger } from './logger.ts';
import { badRequest, payloadTooLarge, Problem, sendProblem } from './problem.ts';

/** The last handler: whatever was thrown becomes a problem document that tells the caller only what is theirs to know. */
export function writeProblems({
  logger,
  bodyBytesMax,
}: {
  readonly logger: Logger;
  readonly bodyBytesMax: number;
}): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    const problem = toProblem(error, bodyBytesMax);
    const log = request.log ?? logger;
    if (problem !== error && problem.status >= 500) log.error({ err: error }, 'request failed');
    else if (problem.status >= 500) log.warn({ problem }, 'request refused');
    if (response.headersSent) {
      // Half an answer must not look like a whole one.
      response.destroy();
      return;
    }
    sendProblem(response, problem);
  };
}

function toProblem(error: unknown, bodyBytesMax: number): Problem {
  if (error instanceof Problem) return error;
  const { type, status, message } = (error ?? {}) as {
    type?: string;
    status?: number;
    message?: string;
  };
  if (type === 'entity.too.large') return payloadTooLarge(bodyBytesMax);
  if (type === 'entity.parse.failed') return badRequest(`The body is not JSON: ${message}`);
  if (type === 'encoding.unsupported' || type === 'charset.unsupported') {
    return new Problem(415, 'Unsupported media type', { detail: message ?? '' });
  }
  if (status !== undefined && status >= 400 && status < 500)
    return badRequest(message ?? 'The request cannot be understood');
  return new Problem(500, 'Internal server error', {
    detail: 'Something failed on our side; the request id finds it in the logs',
  });
}
