import Type, { type Static } from 'typebox';
import { DeviceId } from './identifiers.ts';
import { parserOf } from './schema-issue.ts';

export const roles = ['device', 'analyst', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

export const tokenIssuer = 'fleetwire';
export const tokenAudience = 'fleetwire';

/** The claims of a token that the services rely on. For a device, `sub` is its device id. */
export const Claims = Type.Object({
  sub: DeviceId,
  role: Type.Enum([...roles]),
  /** Expiry in seconds since the epoch (RFC 7519, 4.1.4). */
  exp: Type.Optional(Type.Number()),
});
export type Claims = Static<typeof Claims>;

export const parseClaims = parserOf(Claims);

/** A device publishes only as itself; an admin token (a gateway, a dashboard) for any device. */
export function mayPublishAs(claims: Claims, deviceId: string): boolean {
  return claims.role === 'admin' || (claims.role === 'device' && claims.sub === deviceId);
}

export function mayPublish(claims: Claims): boolean {
  return claims.role === 'admin' || claims.role === 'device';
}

/** A device reads its own data; analysts, operators and admins read everything. */
export function mayRead(claims: Claims, deviceId: string): boolean {
  return claims.role !== 'device' || claims.sub === deviceId;
}

export function maySendCommands(claims: Claims): boolean {
  return claims.role === 'operator' || claims.role === 'admin';
}
