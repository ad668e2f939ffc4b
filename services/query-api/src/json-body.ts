import { parseJson } from '@fleetwire/contracts/json-text';
import { badRequest } from '@fleetwire/runtime/problem';
import { raw, type RequestHandler } from 'express';

/** Reads a JSON body that Postgres can store: NUL and lone surrogates are refused with 400, naming the field. */
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
  const parsed = parseJson(decodeUtf8(content));
  if (parsed.ok) return parsed.value;
  const { field, message } = parsed.issue;
  throw badRequest('The body is not valid', [{ field: field === '' ? 'body' : `body.${field}`, detail: message }]);
}

function decodeUtf8(content: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw badRequest('The body is not valid', [{ field: 'body', detail: 'is not UTF-8' }]);
  }
}
