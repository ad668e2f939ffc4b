import Type from 'typebox';

/** RFC 9457, with `errors` for the elements that were refused. */
export const ProblemDocument = Type.Object(
  {
    type: Type.String({ format: 'uri-reference' }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.Optional(Type.String()),
    instance: Type.Optional(Type.String({ format: 'uri-reference' })),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          field: Type.String({ description: 'Where it stands: `query.limit`, `body.role`' }),
          detail: Type.String({ description: 'What is wrong and what is allowed' }),
        }),
      ),
    ),
  },
  { title: 'Problem' },
);
