import { errors } from 'jose';

export type TokenRefusal =
  | 'expired'
  | 'not-yet-valid'
  | 'bad-signature'
  | 'bad-algorithm'
  | 'unknown-key'
  | 'wrong-audience'
  | 'wrong-issuer'
  | 'malformed';

/** A token that is refused, and why. Its message never holds the token. */
export class TokenError extends Error {
  readonly reason: TokenRefusal;

  constructor(reason: TokenRefusal, message: string) {
    super(message);
    this.name = 'TokenError';
    this.reason = reason;
  }
}

/** Names the reason of what jose throws; anything it does not throw for a token's sake passes unchanged. */
export function toTokenError(error: unknown): unknown {
  if (error instanceof TokenError) return error;
  if (error instanceof errors.JWTExpired) return new TokenError('expired', 'the token has expired');
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return new TokenError('bad-signature', 'the signature does not match');
  if (error instanceof errors.JOSEAlgNotAllowed) return new TokenError('bad-algorithm', error.message);
  if (error instanceof errors.JWTClaimValidationFailed)
    return new TokenError(claimReasons.get(error.claim) ?? 'malformed', error.message);
  if (error instanceof errors.JOSEError) return new TokenError('malformed', error.message);
  if (error instanceof TypeError) return new TokenError('malformed', 'not a JSON web token');
  return error;
}

const claimReasons = new Map<string, TokenRefusal>([
  ['aud', 'wrong-audience'],
  ['iss', 'wrong-issuer'],
  ['nbf', 'not-yet-valid'],
]);
