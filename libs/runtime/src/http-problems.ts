import type { ErrorRequestHandler } from 'express';
import type { Logger } from './logger.ts';
import { badRequest, payloadTooLarge, Problem, sendProblem } from './problem.ts';

/** The last handler: turns a thrown error into a problem document, which does not disclose internal details. */
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
    else if (problem.status >= 500) log.warn({ problem }, 'request answered with a problem');
    if (response.headersSent) {
      // A truncated response must not look complete.
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
  if (status !== undefined && status >= 400 && status < 500) return badRequest(message ?? 'The request is malformed');
  return new Problem(500, 'Internal server error', {
    detail: 'Unexpected failure in the service; its log has the details under the X-Request-Id of this response',
  });
}
