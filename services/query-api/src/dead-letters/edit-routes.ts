import { badRequest, notFound } from '@fleetwire/runtime/problem';
import { getDeadLetter } from '@fleetwire/store/dead-letters/browse';
import Type from 'typebox';
import { route } from '../route.ts';
import { editCopy } from './edit-copy.ts';
import { conflict, startReplay } from './replay-routes.ts';
import { Replay } from './schemas.ts';
import { DeadLetterId } from './select.ts';

const EditRequest = Type.Object(
  {
    patch: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          'JSON merge patch (RFC 7396) on {deviceId, epoch, seq, ts, metrics}; deviceId, epoch and seq may be filled in, not changed',
      }),
    ),
    replacement: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          'Replaces all but the identity: {ts, metrics}, and deviceId, epoch and seq where the dead letter has none',
      }),
    ),
    note: Type.Optional(Type.String({ minLength: 1, maxLength: 1_000, description: 'Reason; kept in the history' })),
  },
  { title: 'DeadLetterEdit', additionalProperties: false },
);

export const editRoutes = [
  route({
    tag: 'Dead letters',
    roles: ['operator', 'admin'],
    method: 'patch',
    path: '/dead-letters/{id}',
    operationId: 'editDeadLetter',
    summary: 'Edit a copy of a dead letter and replay it',
    description:
      'The dead letter itself is not changed; the difference is kept in its history. The copy must be a valid reading.',
    params: { id: DeadLetterId },
    body: EditRequest,
    success: { status: 202, description: 'The job that publishes the copy', schema: Replay },
    problems: [404, 409],
    handler: async ({ params: { id }, body: { patch, replacement, note }, caller, now }, api) => {
      const edit = patch === undefined ? replacement && { replacement } : { patch };
      if (edit === undefined || (patch !== undefined && replacement !== undefined))
        throw badRequest('Nothing to edit, or two edits', [
          { field: 'body', detail: 'must have exactly one of "patch" and "replacement"' },
        ]);
      const letter = await api.deadLetters.light.run(getDeadLetter, { id });
      if (letter === undefined) throw notFound(`There is no dead letter ${id}`);
      if (letter.status !== 'open')
        throw conflict(`The dead letter is ${letter.status}; only an open one can be edited`);
      const edited = editCopy(letter, edit, now);
      if (!edited.ok) {
        const { code, field, message } = edited.issue;
        throw badRequest('The edited reading is not valid', [{ field: field || 'body', detail: message, code }]);
      }
      const { copy, difference } = edited.value;
      return startReplay(api, {
        source: 'edit',
        createdBy: caller.sub,
        selection: { ids: [id] },
        copy,
        ratePerSecond: 1,
        max: 1,
        action: { action: 'edited', deadLetterId: id, details: { difference, ...(note !== undefined && { note }) } },
      });
    },
  }),
];
