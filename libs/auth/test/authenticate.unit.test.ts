import { beforeAll, describe, expect, it } from 'vitest';
import { type Authenticate, createAuthenticate } from '../src/authenticate.ts';
import { generateKeySet, type JSONWebKeySet } from '../src/key-set.ts';
import { createTokenMinter } from '../src/tokens.ts';

const options = { authIssuer: 'fleetwire', authAudience: 'fleetwire', authClockToleranceSeconds: 0 };

describe('authentication', () => {
  let authenticate: Authenticate;
  let privateJwks: JSONWebKeySet;
  beforeAll(async () => {
    const { publicJwks, ...keys } = await generateKeySet();
    privateJwks = keys.privateJwks;
    authenticate = createAuthenticate({ authMode: 'jwt', ...options }, { current: async () => publicJwks });
  });

  const token = async (subject: string, role: string, expiresInSeconds = 60) => {
    const minter = createTokenMinter({ privateJwks, issuer: 'fleetwire', audience: 'fleetwire' });
    return (await minter.mint({ subject, role, expiresInSeconds })).token;
  };

  it('yields the claims of a bearer token', async () => {
    const caller = await authenticate(`Bearer ${await token('pump-1', 'device')}`);
    expect(caller).toMatchObject({ ok: true, claims: { sub: 'pump-1', role: 'device' } });
  });

  it('takes a token from another place when the header holds none', async () => {
    const offered = await token('page', 'admin');
    expect(await authenticate(undefined, offered)).toMatchObject({ ok: true, claims: { sub: 'page' } });
    expect(await authenticate('Basic YTpi', offered)).toMatchObject({ ok: true, claims: { sub: 'page' } });
  });

  it('says what is wrong, with the error code of RFC 6750 unless there are no credentials', async () => {
    expect(await authenticate(undefined)).toEqual({ ok: false, detail: 'Send a token: "Authorization: Bearer …"' });
    expect(await authenticate('Basic YTpi')).toEqual({
      ok: false,
      detail: 'The Authorization header must be "Bearer" and a token',
      error: 'invalid_request',
    });
    const refusals = [
      ['not-a-token', 'Invalid Compact JWS (malformed)'],
      [await token('a', 'device', -1), 'it has expired (expired)'],
      [await token('a', 'king'), 'role must be equal to one of the allowed values'],
    ];
    for (const [bearer, reason] of refusals)
      expect(await authenticate(`Bearer ${bearer}`)).toEqual({
        ok: false,
        detail: `The token is refused: ${reason}`,
        error: 'invalid_token',
      });
  });

  it('makes every caller the same anonymous admin in open mode, with or without a token', async () => {
    const open = createAuthenticate({ authMode: 'open', ...options }, undefined);
    const anonymous = { ok: true, claims: { sub: 'anonymous', role: 'admin' } };
    expect(await open(undefined)).toEqual(anonymous);
    expect(await open('Bearer not-a-token')).toEqual(anonymous);
  });

  it('needs keys unless the mode is open', () => {
    expect(() => createAuthenticate({ authMode: 'jwt', ...options }, undefined)).toThrow('needs keys');
  });
});
