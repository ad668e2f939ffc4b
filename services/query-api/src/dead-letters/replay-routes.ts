import { randomUUID } from 'node:crypto';
import { badRequest, notFound, Problem } from '@fleetwire/runtime/problem';
import type { NewReplay } from '@fleetwire/store/dead-letters/replays';
import Type from 'typebox';
import { Cursor, cursorCodec } from '../cursor.ts';
import { type ApiContext, route } from '../route.ts';
import { PageOf, toPage } from '../schemas.ts';
import { editedCopy } from './edited-copy.ts';
import { presentReplay, Replay } from './schemas.ts';
import { choiceFields, chosen, DeadLetterId } from './selecting.ts';

const ratePerSecondMax = 1_000;
const replayedMax = 10_000_000;
const unfinishedReplaysMax = 100;

const cursors = cursorCodec(Type.Object({ number: Type.Integer() }));

const common = { tag: 'Dead letters', roles: ['operator', 'admin'] } as const;
const ReplayId = Type.String({ minLength: 1, maxLength: 64, description: 'Id of a replay' });

const ReplayRequest = Type.Object(
  {
    ...choiceFields,
    dryRun: Type.Optional(Type.Boolean({ default: false, description: 'Only count what it would publish' })),
    ratePerSecond: Type.Optional(
      Type.Number({ minimum: 0.01, maximum: ratePerSecondMax, default: 100, description: 'Dead letters in a second' }),
    ),
    max: Type.Optional(
      Type.Integer({ minimum: 1, maximum: replayedMax, default: 1_000_000, description: 'Dead letters at most' }),
    ),
  },
  { title: 'DeadLetterReplayRequest', additionalProperties: false },
);

const EditRequest = Type.Object(
  {
    patch: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          'JSON merge patch (RFC 7396) on {deviceId, epoch, seq, ts, metrics}; what identifies the reading may only be filled in',
      }),
    ),
    replacement: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'In place of all but the identity: {ts, metrics}, and identity where the dead letter has none',
      }),
    ),
    note: Type.Optional(Type.String({ minLength: 1, maxLength: 1_000, description: 'Why; kept in the history' })),
  },
  { title: 'DeadLetterEdit', additionalProperties: false },
);

export const replayRoutes = [
  route({
    ...common,
    method: 'post',
    path: '/dead-letters/replays',
    operationId: 'replayDeadLetters',
    summary: 'Publish dead letters again',
    description:
      'Starts a job over the dead letters that match now. Replaying is harmless: a reading is stored once, by its identity. ' +
      'Without a status in the filter, open ones are meant; discarded ones must be restored first.',
    body: ReplayRequest,
    success: { status: 202, description: 'The job', schema: Replay },
    problems: [409],
    handler: async ({ body, caller, now }, api) => {
      const { dryRun = false, ratePerSecond = 100, max = 1_000_000, filter, ids } = body;
      const selection = chosen(body, now, ['open', 'replaying', 'stored']);
      const details = { ...(ids ? { ids } : { filter: filter ?? {} }), ratePerSecond, max };
      return startReplay(api, {
        source: 'operator',
        createdBy: caller.sub,
        selection,
        ratePerSecond,
        max,
        dryRun,
        action: { action: dryRun ? 'dry-run' : 'replay-requested', details },
      });
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/dead-letters/replays',
    operationId: 'listReplays',
    summary: 'Replays, the newest first',
    query: {
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 50, description: 'Replays in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of replays', schema: PageOf(Replay, {}, {}) },
    handler: async ({ query: { limit, cursor } }, { deadLetters }) => {
      const scope = { list: 'replays' };
      const after = cursor === undefined ? undefined : cursors.decode(scope, cursor).number;
      const found = await deadLetters.listReplays({ limit: limit + 1, after });
      const { rows, covered, page } = toPage(found, limit, ({ number }) => cursors.encode(scope, { number }));
      return { data: rows.map(presentReplay), covers: covered, page };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/dead-letters/replays/{id}',
    operationId: 'getReplay',
    summary: 'How far a replay is, and what became of what it published',
    params: { id: ReplayId },
    success: { status: 200, description: 'The job', schema: Replay },
    problems: [404],
    handler: async ({ params: { id } }, { deadLetters }) => {
      const replay = await deadLetters.getReplay(id);
      if (replay === undefined) throw notFound(`There is no replay ${id}`);
      return presentReplay(replay);
    },
  }),
  route({
    ...common,
    method: 'post',
    path: '/dead-letters/replays/{id}/cancel',
    operationId: 'cancelReplay',
    summary: 'Stop a replay',
    description: 'What is published already goes its way, and is still counted. Cancelling twice is cancelling once.',
    params: { id: ReplayId },
    success: { status: 200, description: 'The job', schema: Replay },
    problems: [404, 409],
    handler: async ({ params: { id }, caller }, { deadLetters }) => {
      const replay = await deadLetters.cancelReplay(id, caller.sub);
      if (replay === undefined) throw notFound(`There is no replay ${id}`);
      if (replay.state !== 'cancelled') throw conflict(`The replay is ${replay.state}: all it had is published`);
      return presentReplay(replay);
    },
  }),
];

export const editRoutes = [
  route({
    ...common,
    method: 'patch',
    path: '/dead-letters/{id}',
    operationId: 'editDeadLetter',
    summary: 'Edit a copy of a dead letter and replay it',
    description:
      'The dead letter stays as it is; what differs is kept in its history. The copy must be a reading like any other.',
    params: { id: DeadLetterId },
    body: EditRequest,
    success: { status: 202, description: 'The job that publishes the copy', schema: Replay },
    problems: [404, 409],
    handler: async ({ params: { id }, body: { patch, replacement, note }, caller, now }, api) => {
      const edit = patch === undefined ? replacement && { replacement } : { patch };
      if (edit === undefined || (patch !== undefined && replacement !== undefined))
        throw badRequest('Say what to change', [
          { field: 'body', detail: 'must have either "patch" or "replacement"' },
        ]);
      const letter = await api.deadLetters.get(id);
      if (letter === undefined) throw notFound(`There is no dead letter ${id}`);
      if (letter.status !== 'open')
        throw conflict(`The dead letter is ${letter.status}; only an open one can be edited`);
      const edited = editedCopy(letter, edit, now);
      if (!edited.ok) {
        const { code, field, message } = edited.issue;
        throw badRequest('The edited reading is not one', [{ field: field || 'body', detail: message, code }]);
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

/** Writes the job; a persistence-worker runs it. */
async function startReplay({ deadLetters }: ApiContext, replay: Omit<NewReplay, 'id' | 'signal'>) {
  if (replay.dryRun !== true) {
    const unfinished = await deadLetters.countUnfinishedReplays(unfinishedReplaysMax);
    if (unfinished >= unfinishedReplaysMax)
      throw conflict(`${unfinished} replays are queued or running, the most there may be; cancel one, or wait`);
  }
  const created = await deadLetters.createReplay({ id: randomUUID(), ...replay });
  if (created === undefined) throw new Error('only an automatic replay can be refused as a second one');
  return presentReplay(created);
}

function conflict(detail: string): Problem {
  return new Problem(409, 'Conflict', { detail });
}
