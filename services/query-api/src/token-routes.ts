import { roles } from '@fleetwire/contracts/access';
import { DeviceId } from '@fleetwire/contracts/identifiers';
import { notImplemented } from '@fleetwire/runtime/problem';
import Type from 'typebox';
import { route } from './route.ts';

const yearSeconds = 366 * 24 * 3_600;

const TokenRequest = Type.Object(
  {
    subject: DeviceId,
    role: Type.Enum([...roles], {
      description: '`device`: the token is valid only for the device that `subject` names',
    }),
    expiresInSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: yearSeconds, default: 24 * 3_600 })),
  },
  { title: 'TokenRequest', additionalProperties: false },
);

const MintedToken = Type.Object(
  {
    token: Type.String({ description: 'A signed JWT for `Authorization: Bearer …`' }),
    subject: Type.String(),
    role: Type.Enum([...roles]),
    expiresAt: Type.String({ format: 'date-time' }),
    kid: Type.String({ description: 'The key that signed it' }),
  },
  { title: 'MintedToken' },
);

export const tokenRoutes = [
  route({
    method: 'post',
    path: '/tokens',
    operationId: 'mintToken',
    tag: 'Tokens',
    summary: 'Mint a token',
    description: 'Requires a private key in the configured key set; with public keys only, the answer is 501.',
    roles: ['admin'],
    body: TokenRequest,
    success: { status: 201, description: 'The token; the service does not store it', schema: MintedToken },
    problems: [501],
    handler: async ({ body }, { minter }) => {
      if (!minter)
        throw notImplemented(
          'query-api has no private key to sign tokens with; add one to the key set (AUTH_JWKS or AUTH_JWKS_FILE)',
        );
      const { subject, role, expiresInSeconds = 24 * 3_600 } = body;
      const { token, expiresAt, kid } = await minter.mint({ subject, role, expiresInSeconds });
      return { token, subject, role, expiresAt: expiresAt.toISOString(), kid };
    },
  }),
];
