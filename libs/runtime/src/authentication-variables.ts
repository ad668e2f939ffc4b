import { relation } from './configuration.ts';
import { isLoopback } from './listen.ts';
import { choice, integer, optional, secret, string, urls } from './variables.ts';

/** How callers are authenticated; equal for every service, so that one token is valid for all of them. */
export const authenticationVariables = {
  authMode: choice('AUTH_MODE', ['jwt', 'open'], {
    default: 'jwt',
    doc: '`jwt` requires a bearer token; `open` treats every caller as an admin and is allowed on a loopback address only',
  }),
  authJwks: optional({
    ...secret(
      string('AUTH_JWKS', {
        doc: 'JWK set as JSON, of Ed25519, P-256 or RSA keys; its last private key signs new tokens',
      }),
    ),
    fromFile: false,
  }),
  authJwksFile: optional(string('AUTH_JWKS_FILE', { doc: 'File with the JWK set; read again when it changes' })),
  authIssuer: string('AUTH_ISSUER', {
    default: 'fleetwire',
    doc: 'The `iss` that tokens must carry',
  }),
  authAudience: string('AUTH_AUDIENCE', {
    default: 'fleetwire',
    doc: 'The `aud` that tokens must carry',
  }),
  allowedOrigins: optional(
    urls('ALLOWED_ORIGINS', {
      protocols: ['http', 'https'],
      doc: 'Origins of web pages that may open /ws and read answers (CORS) with tokens. If unset, pages of any origin may open /ws and none may read answers. In open mode only pages of this machine may',
    }),
  ),
  refusedTokensPerMinuteMax: integer('REFUSED_TOKENS_PER_MINUTE_MAX', {
    min: 1,
    max: 1_000_000,
    default: 60,
    unit: 'tokens/min',
    doc: 'Refused tokens of one address that are answered with 401; further ones get 429. Valid tokens are not affected',
  }),
  authClockToleranceSeconds: integer('AUTH_CLOCK_TOLERANCE_SECONDS', {
    min: 0,
    max: 300,
    default: 30,
    unit: 's',
    doc: 'Accepted difference between clocks when the times of a token are checked',
  }),
};

const listenHost = { host: string('HOST', { doc: 'Address to listen on' }) };

export const authenticationRelations = [
  relation(
    authenticationVariables,
    'AUTH_MODE=jwt needs exactly one of AUTH_JWKS and AUTH_JWKS_FILE',
    ['authMode', 'authJwks', 'authJwksFile'],
    ({ authMode, authJwks, authJwksFile }) =>
      authMode === 'open' || (authJwks === undefined) !== (authJwksFile === undefined),
  ),
  relation(
    { ...authenticationVariables, ...listenHost },
    'AUTH_MODE=open needs a loopback HOST',
    ['authMode', 'host'],
    ({ authMode, host }) => authMode === 'jwt' || isLoopback(host),
  ),
];
