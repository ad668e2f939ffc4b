import type { HttpAnswer } from './http-client.ts';

/** A limit is named by its configuration member, with its value and the way out: "… (callsInFlightMax)". */
const namedLimit = /\((?:its )?\w+(?:Max|PerMinute|PerSecond)\)/;

/**
 * `2xx`, `4xx`, `429`, `5xx` …; `503 limit` for a 503 that names the declared limit it comes from and says when to try again. Any other
 * 5xx is a failure.
 */
export function answerClass({ status, headers, body }: HttpAnswer): string {
  if (status === 429) return '429';
  if (status === 503 && headers['retry-after'] !== undefined && namedLimit.test(body)) return '503 limit';
  return `${Math.floor(status / 100)}xx`;
}
