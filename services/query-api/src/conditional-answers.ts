import { hash as hashOf } from 'node:crypto';
import type { Request, Response } from 'express';
import type { Answered } from './question-answers.ts';

/** The parts of answers that a validator knows. */
interface Answer {
  readonly asOf?: unknown;
  readonly cost?: unknown;
  readonly covers?: { readonly to?: unknown; readonly completeUntil?: unknown; readonly replicaLagMs?: unknown };
}

const hashCharacters = 22;

/**
 * Writes the ETag of an answer, unless its range has not ended: such an answer differs with each call. The tag is a strong one of the whole
 * text, or a weak one of what the answer says where it has members that differ between equal answers (`asOf`, `cost`, `completeUntil`, `replicaLagMs`).
 * @returns whether the client has this answer already (RFC 9110, 13.1.2)
 */
export function isUnchanged(
  request: Request,
  response: Response,
  { answer, text, values, now }: { readonly answer: Answer; readonly now: number } & Pick<Answered, 'text' | 'values'>,
): boolean {
  const { asOf, cost, covers, ...rest } = answer;
  if (typeof covers?.to === 'string' && Date.parse(covers.to) > now) return false;
  const isStrong = (asOf ?? cost ?? covers?.completeUntil) === undefined;
  const covered = { ...covers, completeUntil: undefined, replicaLagMs: undefined };
  const hashed = isStrong
    ? text
    : values === undefined
      ? JSON.stringify({ ...rest, covers: covered })
      : values + JSON.stringify(covered);
  const hash = hashOf('sha256', hashed, 'base64url').slice(0, hashCharacters);
  const tag = `"${hash}"`;
  response.setHeader('ETag', isStrong ? tag : `W/${tag}`);
  if (response.getHeader('Cache-Control') === 'no-store') response.setHeader('Cache-Control', 'private, no-cache');
  const known = isRead(request.method) ? request.headers['if-none-match'] : undefined;
  return known !== undefined && (known.trim() === '*' || known.split(',').some((one) => one.trim().endsWith(tag)));
}

function isRead(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}
