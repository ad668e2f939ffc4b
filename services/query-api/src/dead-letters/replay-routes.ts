import { randomUUID } from 'node:crypto';
import { notFound, Problem } from '@fleetwire/runtime/problem';
import {
  cancelReplay,
  countUnfinishedReplays,
  createReplay,
  getReplay,
  listReplays,
  type NewReplay,
} from '@fleetwire/store/dead-letters/replays';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { type ApiContext, route } from '../route.ts';
import { PageOf, toPage } from '../schemas.ts';
import { presentReplay, Replay } from './schemas.ts';
import { choiceFields, chosen } from './select.ts';

const ratePerSecondMax = 1_000;
const replayedMax = 10_000_000;
const unfinishedReplaysMax = 100;

const cursors = cursorCodec(Type.Object({ number: positionFields.number }));

const common = { tag: 'Dead letters', roles: ['operator', 'admin'] } as const;
const ReplayId = Type.String({ minLength: 1, maxLength: 64, description: 'Id of a replay' });

const ReplayRequest = Type.Object(
  {
    ...choiceFields,
    dryRun: Type.Optional(
      Type.Boolean({ default: false, description: 'Only count the dead letters it would publish' }),
    ),
    ratePerSecond: Type.Optional(
      Type.Number({
        minimum: 0.01,
        maximum: ratePerSecondMax,
        default: 100,
        description: 'Dead letters published in a second',
      }),
    ),
    max: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: replayedMax,
        default: 1_000_000,
        description: 'Largest number of dead letters published',
      }),
    ),
  },
  { title: 'DeadLetterReplayRequest', additionalProperties: false },
);

export const replayRoutes = [
  route({
    ...common,
    method: 'post',
    path: '/dead-letters/replays',
    operationId: 'replayDeadLetters',
    summary: 'Replay dead letters: publish them again',
    description:
      'Creates a job for the dead letters that match now; a persistence-worker runs it. Replaying is safe: a reading is stored once, by its identity. ' +
      'A filter without a status matches open dead letters; discarded ones must be restored first.',
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
    summary: 'Replays, newest first',
    query: {
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 50, description: 'Replays in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of replays', schema: PageOf(Replay, {}, {}) },
    handler: async ({ query: { limit, cursor }, pageBytes }, { deadLetters }) => {
      const scope = { list: 'replays' };
      const after = cursor === undefined ? undefined : cursors.decode(scope, cursor).number;
      const found = await deadLetters.light.run(listReplays, { limit: limit + 1, after, ...pageBytes });
      const { rows, covered, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, ({ number }) =>
        cursors.encode(scope, { number }),
      );
      return { data: rows.map(presentReplay), covers: covered, page };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/dead-letters/replays/{id}',
    operationId: 'getReplay',
    summary: 'Progress of a replay, and the outcomes of the dead letters it published',
    params: { id: ReplayId },
    success: { status: 200, description: 'The job', schema: Replay },
    problems: [404],
    handler: async ({ params: { id } }, { deadLetters }) => {
      const replay = await deadLetters.light.run(getReplay, { id });
      if (replay === undefined) throw notFound(`There is no replay ${id}`);
      return presentReplay(replay);
    },
  }),
  route({
    ...common,
    method: 'post',
    path: '/dead-letters/replays/{id}/cancel',
    operationId: 'cancelReplay',
    summary: 'Cancel a replay',
    description:
      'Messages already published are still processed and counted. Cancelling a cancelled replay changes nothing.',
    params: { id: ReplayId },
    success: { status: 200, description: 'The job', schema: Replay },
    problems: [404, 409],
    handler: async ({ params: { id }, caller }, { deadLetters }) => {
      const replay = await deadLetters.writing.run(cancelReplay, { id, actor: caller.sub });
      if (replay === undefined) throw notFound(`There is no replay ${id}`);
      if (replay.state !== 'cancelled')
        throw conflict(`The replay is ${replay.state}: everything is published, there is nothing to cancel`);
      return presentReplay(replay);
    },
  }),
];

/** Writes the job; a persistence-worker runs it. */
export async function startReplay({ deadLetters }: ApiContext, replay: Omit<NewReplay, 'id' | 'signal'>) {
  if (replay.dryRun !== true) {
    const unfinished = await deadLetters.light.run(countUnfinishedReplays, { limit: unfinishedReplaysMax });
    if (unfinished >= unfinishedReplaysMax)
      throw conflict(`${unfinished} replays are queued or running, the most there may be; cancel one, or wait`);
  }
  const created = await deadLetters.writing.run(createReplay, { id: randomUUID(), ...replay });
  if (created === undefined) throw new Error('only an automatic replay can be refused as a second one');
  return presentReplay(created);
}

export function conflict(detail: string): Problem {
  return new Problem(409, 'Conflict', { detail });
}
