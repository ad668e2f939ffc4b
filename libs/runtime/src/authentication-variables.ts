import { relation } from './configuration.ts';
import { isLoopback } from './listen.ts';
import { choice, integer, optional, secret, string } from './variables.ts';

/** How callers prove who they are; the same for every service, so that one token opens all of them. */
export const authenticationVariables = {
  authMode: choice('AUTH_MODE', ['jwt', 'open'], {
    default: 'jwt',
    doc: '`jwt` asks for a bearer token; `open` takes every caller for an admin, on a loopback address only',
  }),
  authJwks: optional({
    ...secret(string('AUTH_JWKS', { doc: 'JWK set as JSON; its last private key signs new tokens' })),
    fromFile: false,
  }),
  authJwksFile: optional(string('AUTH_JWKS_FILE', { doc: 'File that holds the JWK set; read again when it changes' })),
  authIssuer: string('AUTH_ISSUER', {
    default: 'fleetwire',
    doc: 'The `iss` that tokens must carry',
  }),
  authAudience: string('AUTH_AUDIENCE', {
    default: 'fleetwire',
    doc: 'The `aud` that tokens must carry',
  }),
  authClockToleranceSeconds: integer('AUTH_CLOCK_TOLERANCE_SECONDS', {
    min: 0,
    max: 300,
    default: 30,
    unit: 's',
    doc: 'How far clocks may differ when tokens are checked',
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
