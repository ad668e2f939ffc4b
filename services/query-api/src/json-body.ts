import { parseJson } from '@fleetwire/contracts/json-text';
import { badRequest } from '@fleetwire/runtime/problem';
import { raw, type RequestHandler } from 'express';

/** Deeper than any body of the API. Without a bound, a body of 120 kB has 20,000 levels, more than the stack has room for. */
const nestingLevelsMax = 64;

/** Reads a JSON body that Postgres can store: NUL, lone surrogates and deep nesting are refused with 400, naming the field. */
export function jsonBody(bytesMax: number): RequestHandler[] {
  return [
    raw({ limit: bytesMax, type: ['application/json', 'application/*+json'] }),
    (request, _response, next) => {
      if (Buffer.isBuffer(request.body)) request.body = parseBody(request.body);
      next();
    },
  ];
}

function parseBody(content: Buffer): unknown {
  const text = decodeUtf8(content);
  if (nestingLevelsOf(text) > nestingLevelsMax)
    throw badRequest('The body is not valid', [
      { field: 'body', detail: `is nested deeper than ${nestingLevelsMax} levels (nestingLevelsMax)` },
    ]);
  const parsed = parseJson(text);
  if (parsed.ok) return parsed.value;
  const { field, message } = parsed.issue;
  throw badRequest('The body is not valid', [{ field: field === '' ? 'body' : `body.${field}`, detail: message }]);
}

function nestingLevelsOf(text: string): number {
  let levels = 0;
  let deepest = 0;
  let isInString = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (isInString) {
      if (character === '\\') index += 1;
      else if (character === '"') isInString = false;
    } else if (character === '"') isInString = true;
    else if (character === '{' || character === '[') deepest = Math.max(deepest, (levels += 1));
    else if (character === '}' || character === ']') levels -= 1;
  }
  return deepest;
}

function decodeUtf8(content: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw badRequest('The body is not valid', [{ field: 'body', detail: 'is not UTF-8' }]);
  }
}
