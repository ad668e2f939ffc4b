import { jsonOfPayload, type StoredDeadLetter } from '@fleetwire/store/dead-letters/browse';
import Type, { type Static } from 'typebox';

const shownBytesMax = 256 * 1024;
const previewCharactersMax = 2_000;

export const PayloadView = Type.Object(
  {
    encoding: Type.Enum(['json', 'base64'], { description: 'json: a reading as text; base64: the bytes of a message' }),
    bytes: Type.Integer({ minimum: 0 }),
    json: Type.Optional(Type.Unknown({ description: 'The parsed payload; absent if it is not JSON' })),
    base64: Type.String({ description: 'The unchanged bytes' }),
    preview: Type.String({
      description: `As text, at most ${previewCharactersMax} characters; unprintable characters are replaced by U+FFFD`,
    }),
    truncated: Type.Boolean({
      description: `True: the payload is longer than ${shownBytesMax} bytes, and only the first ones are here`,
    }),
  },
  { title: 'DeadLetterPayload' },
);

/** Any payload, in a form that is safe for terminals and pages. */
export function showPayload({
  payload,
  payloadEncoding,
}: Pick<StoredDeadLetter, 'payload' | 'payloadEncoding'>): Static<typeof PayloadView> {
  const shown = payload.subarray(0, shownBytesMax);
  const truncated = shown.length < payload.length;
  const json = truncated ? undefined : jsonOfPayload(payload);
  return {
    encoding: payloadEncoding,
    bytes: payload.length,
    ...(json !== undefined && { json }),
    base64: shown.toString('base64'),
    preview: printable(shown.toString('utf8')),
    truncated,
  };
}

/** Replaces control characters, line separators, marks that change the writing direction, and the like. */
function printable(text: string): string {
  return text.slice(0, previewCharactersMax).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '\u{FFFD}');
}
