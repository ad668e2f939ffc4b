import Type, { type Static } from 'typebox';
import { roles } from './access.ts';

/** The cookie of a browser that has signed in; its value is the token of a session. Its name may end with a port ({@link sessionCookieOf}). */
export const sessionCookie = 'fleetwire_session';

/**
 * The name of the cookie at an address. A browser sends the cookies of a host to all its ports: with the port in the name, several installations on
 * one host do not sign each other out.
 * @param host the `Host` header
 */
export function sessionCookieOf(host: string | undefined): string {
  const port = /:(\d{1,5})$/.exec(host ?? '')?.[1];
  return port === undefined ? sessionCookie : `${sessionCookie}_${port}`;
}

/** What the token of a session begins with; a JWT begins with `eyJ`. */
const sessionTokenPrefix = 'fws_';

export function sessionTokenOf(secret: string): string {
  return `${sessionTokenPrefix}${secret}`;
}

export function isSessionToken(token: string): boolean {
  return token.startsWith(sessionTokenPrefix);
}

/** Who calls, as `GET /api/v1/session` tells the caller itself. */
export const SessionState = Type.Object(
  {
    subject: Type.String(),
    role: Type.Enum([...roles]),
    expiresAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
      description: 'When the session, or the token of the call, ends; null without tokens (AUTH_MODE=open)',
    }),
    key: Type.Union([Type.String(), Type.Null()], {
      description:
        'Thumbprint (RFC 7638) of the key that signed the token: the session ends when it is removed; null without tokens',
    }),
  },
  { title: 'Session' },
);
export type SessionState = Static<typeof SessionState>;
