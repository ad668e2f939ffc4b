import { notFound } from '@fleetwire/runtime/problem';
import {
  countDeadLetters,
  getDeadLetter,
  groupDeadLetters,
  historyOfDeadLetter,
  listDeadLetterActions,
  listDeadLetters,
} from '@fleetwire/store/dead-letters/browse';
import Type, { type Static } from 'typebox';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { type ApiContext, route } from '../route.ts';
import { PageOf, Time, toPage } from '../schemas.ts';
import {
  DeadLetter,
  DeadLetterDetails,
  DeadLetterEvent,
  DeadLetterGroup,
  presentDeadLetter,
  presentDetails,
  presentEvent,
  presentGroup,
} from './schemas.ts';
import { isoTime } from '../time-range.ts';
import { DeadLetterId, filterFields, selectionOf } from './select.ts';

const historyEventsMax = 200;
const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

const cursors = cursorCodec(
  Type.Object({
    number: positionFields.number,
    from: Type.Optional(positionFields.instant),
    to: Type.Optional(positionFields.instant),
  }),
);
const actionCursors = cursorCodec(Type.Object({ number: positionFields.number }));

const common = { method: 'get', tag: 'Dead letters', roles: ['operator', 'admin'] } as const;

export const browseRoutes = [
  route({
    ...common,
    path: '/dead-letters',
    operationId: 'listDeadLetters',
    summary: 'Readings that could not be stored, newest arrivals first',
    query: {
      ...filterFields,
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'Dead letters in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of dead letters', schema: PageOf(DeadLetter, {}, {}) },
    handler: async ({ query: { limit, cursor, ...filter }, now, pageBytes }, { deadLetters }) => {
      const scope = { list: 'dead-letters', ...filter };
      const before = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      // Relative times are resolved once, for the first page.
      const { from, to, ...rest } = selectionOf(filter, now, 'query');
      const range = before ? { from: before.from, to: before.to } : { from, to };
      const found = await deadLetters.light.run(listDeadLetters, {
        selection: { ...rest, ...range },
        limit: limit + 1,
        after: before?.number,
        ...pageBytes,
      });
      const { rows, covered, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, ({ number }) =>
        cursors.encode(scope, {
          number,
          ...(range.from !== undefined && { from: range.from }),
          ...(range.to !== undefined && { to: range.to }),
        }),
      );
      return { data: rows.map(presentDeadLetter), covers: covered, page };
    },
  }),
  route({
    ...common,
    path: '/dead-letters/groups',
    operationId: 'groupDeadLetters',
    summary: 'Dead letters by kind of failure, most frequent first',
    query: {
      ...filterFields,
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'Largest number of groups' }),
    },
    success: {
      status: 200,
      description: 'The groups',
      schema: Type.Object({
        data: Type.Array(DeadLetterGroup),
        covers: Type.Object({
          count: Type.Integer({ minimum: 0 }),
          complete: Type.Boolean({ description: 'No group was left out by the limit' }),
        }),
      }),
    },
    handler: async ({ query: { limit, ...filter }, now }, { deadLetters }) => {
      const found = await deadLetters.scans.run(groupDeadLetters, {
        selection: selectionOf(filter, now, 'query'),
        limit: limit + 1,
      });
      const data = found.slice(0, limit).map(presentGroup);
      return { data, covers: { count: data.length, complete: found.length <= limit } };
    },
  }),
  route({
    ...common,
    path: '/dead-letters/histogram',
    operationId: 'deadLetterHistogram',
    summary: 'How many dead letters of each group failed when',
    description:
      'By the time of the last failure; `from` is a day ago if left out. Intervals without any are left out.',
    query: {
      ...filterFields,
      maxPoints: Type.Integer({ minimum: 1, maximum: 1_000, default: 96, description: 'Intervals at most' }),
      limit: Type.Integer({
        minimum: 1,
        maximum: 100,
        default: 20,
        description: 'Groups at most, most frequent first',
      }),
    },
    success: {
      status: 200,
      description: 'Counts by group and interval, oldest first',
      schema: Type.Object(
        {
          from: Time,
          to: Time,
          intervalSeconds: Type.Number({ description: 'Of one count; whole minutes' }),
          data: Type.Array(
            Type.Object({
              fingerprint: Type.String({ description: 'Of GET /dead-letters/groups' }),
              counts: Type.Array(Type.Object({ at: Time, count: Type.Integer({ minimum: 1 }) })),
            }),
          ),
        },
        { title: 'DeadLetterHistogram' },
      ),
    },
    handler: async ({ query: { maxPoints, limit, ...filter }, now }, { deadLetters }) => {
      const { to = now, from = to - dayMs, ...rest } = selectionOf(filter, now, 'query');
      const intervalMs = Math.max(1, Math.ceil((to - from) / maxPoints / minuteMs)) * minuteMs;
      const rows = await deadLetters.scans.run(countDeadLetters, {
        selection: { ...rest, from, to },
        intervalMs,
        limit,
      });
      const data = [...Map.groupBy(rows, ({ fingerprint }) => fingerprint)].map(([fingerprint, counts]) => ({
        fingerprint,
        counts: counts.map(({ at, count }) => ({ at: isoTime(at), count })),
      }));
      return { from: isoTime(from), to: isoTime(to), intervalSeconds: intervalMs / 1_000, data };
    },
  }),
  route({
    ...common,
    path: '/dead-letters/actions',
    operationId: 'listDeadLetterActions',
    summary: 'Audit: who decided what about dead letters, and when',
    query: {
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'Actions in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of actions, newest first', schema: PageOf(DeadLetterEvent, {}, {}) },
    handler: async ({ query: { limit, cursor }, pageBytes }, { deadLetters }) => {
      const scope = { list: 'dead-letter-actions' };
      const after = cursor === undefined ? undefined : actionCursors.decode(scope, cursor).number;
      const found = await deadLetters.light.run(listDeadLetterActions, { limit: limit + 1, after, ...pageBytes });
      const { rows, covered, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, ({ number }) =>
        actionCursors.encode(scope, { number }),
      );
      return { data: rows.map(presentEvent), covers: covered, page };
    },
  }),
];

export const detailRoutes = [
  route({
    ...common,
    path: '/dead-letters/{id}',
    operationId: 'getDeadLetter',
    summary: 'One dead letter: its payload, error, headers and history',
    description: `The history has the last ${historyEventsMax} events.`,
    params: { id: DeadLetterId },
    success: { status: 200, description: 'The dead letter', schema: DeadLetterDetails },
    problems: [404],
    handler: ({ params: { id } }, { deadLetters }) => detailsOf(id, deadLetters),
  }),
];

/** One dead letter as the API answers it. @throws {Problem} 404 */
export async function detailsOf(
  id: string,
  { light }: ApiContext['deadLetters'],
): Promise<Static<typeof DeadLetterDetails>> {
  const letter = await light.run(getDeadLetter, { id });
  if (letter === undefined) throw notFound(`There is no dead letter ${id}`);
  return presentDetails(letter, await light.run(historyOfDeadLetter, { id, limit: historyEventsMax }));
}
