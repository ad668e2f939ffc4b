import { mayRead, roles } from '@fleetwire/contracts/access';
import {
  type LiveHistoryBeginning,
  LiveHistoryRequest,
  LivePosition,
  liveHistoryLimits,
} from '@fleetwire/contracts/live-history';
import { StoredAnswer, StoredQuestion, storedQuestionLimits } from '@fleetwire/contracts/stored-notice';
import { badRequest, forbidden, unprocessable } from '@fleetwire/runtime/problem';
import {
  type LiveHistory,
  type LiveHistoryQuery,
  TooManyDevicesError,
  currentPositions,
  openLiveHistory,
} from '@fleetwire/store/positions/live-history';
import { merged } from '@fleetwire/store/positions/number-ranges';
import type { RangesByEdge } from '@fleetwire/store/positions/settled-times';
import type { Positions } from '@fleetwire/store/positions/read-positions';
import { storedOf } from '@fleetwire/store/stored-readings';
import Type from 'typebox';
import { LineStream } from './line-stream.ts';
import { filterOf } from './live-filter.ts';
import { route } from './route.ts';
import { isoTime, readInstant } from './time-range.ts';

export const liveRoutes = [
  route({
    method: 'get',
    path: '/live/position',
    operationId: 'getLivePosition',
    tag: 'Live',
    summary: 'Up to which envelopes everything is stored',
    description: 'What the members mean and how to use them: docs/positions.md.',
    roles: [...roles],
    ownDataOnly: 'checked-by-handler',
    success: { status: 200, description: 'The positions of all edges', schema: LivePosition },
    handler: async (_call, { live, openingMsMax }) => wirePosition(await live.run(currentPositions, { openingMsMax })),
  }),
  route({
    method: 'post',
    path: '/live/stored',
    operationId: 'findStored',
    tag: 'Live',
    summary: 'Which readings are stored, and which are dead letters',
    description:
      'By identity, from one snapshot. An ingest instance asks for readings of which it was told nothing, with the token of their device; a device may ask too.',
    roles: [...roles],
    ownDataOnly: 'checked-by-handler',
    body: StoredQuestion,
    success: { status: 200, description: 'What is known of each run', schema: StoredAnswer },
    problems: [422],
    handler: async ({ body: { runs }, caller }, { scans }) => {
      const { numbersMax } = storedQuestionLimits;
      let numbers = 0;
      for (const [index, { deviceId, first, last }] of runs.entries()) {
        if (!mayRead(caller, deviceId)) throw forbidden(`Device ${caller.sub} may read only its own data`);
        const field = `body.runs.${index}`;
        if (last < first) throw badRequest('The body is not valid', [{ field, detail: 'ends before it begins' }]);
        numbers += last - first + 1;
        if (numbers > numbersMax)
          throw unprocessable('The body is not valid', [
            { field, detail: `is beyond ${numbersMax} numbers in all runs (numbersMax): ask for it in a further call` },
          ]);
      }
      return { runs: await scans.run(storedOf, { runs }) };
    },
  }),
  route({
    method: 'post',
    path: '/live/history',
    operationId: 'readLiveHistory',
    tag: 'Live',
    summary: 'Stored readings by position, as a stream of lines',
    description:
      'The first line has the positions, the last line `end` and, with `ranges`, what is `left`; an answer without `end` was cut. ' +
      `With \`since\`, at most ${liveHistoryLimits.devicesMax} devices may match. docs/positions.md says how live data is joined with it.`,
    roles: [...roles],
    ownDataOnly: 'checked-by-handler',
    body: LiveHistoryRequest,
    success: {
      status: 200,
      description: 'Lines of JSON',
      contentType: 'application/x-ndjson',
      schema: Type.Unsafe<LineStream>(Type.String({ description: 'One JSON object in each line' })),
    },
    problems: [422],
    handler: async ({ body, caller, now }, { live, openingMsMax }) => {
      const filter = filterOf(body.filter, caller);
      const history = await live.run(openKnown, { filter, of: questionOf(body, now), openingMsMax });
      return new LineStream(linesOf(history), history.abort);
    },
  }),
];

/** @throws {Problem} 422 */
async function openKnown(...of: Parameters<typeof openLiveHistory>): Promise<LiveHistory> {
  try {
    return await openLiveHistory(...of);
  } catch (error) {
    if (!(error instanceof TooManyDevicesError)) throw error;
    throw unprocessable('The filter matches too many devices', [
      {
        field: 'body.filter',
        detail: `matches more than ${liveHistoryLimits.devicesMax} devices; with since, name fewer devices or narrower patterns`,
      },
    ]);
  }
}

function questionOf(
  { since, receivedSince, ranges, resumedFrom }: LiveHistoryRequest,
  now: number,
): LiveHistoryQuery['of'] {
  if ([since, receivedSince, ranges].filter((one) => one !== undefined).length !== 1)
    throw badRequest('The body is not valid', [
      { field: 'body', detail: 'must have either "since", "receivedSince" or "ranges"' },
    ]);
  if (since !== undefined) return { since: readInstant(since, now, 'body.since') };
  if (receivedSince !== undefined) return { receivedSince: readInstant(receivedSince, now, 'body.receivedSince') };
  if (resumedFrom !== undefined) readInstant(resumedFrom, now, 'body.resumedFrom');
  return { ranges: rangesOf(ranges ?? {}), isResumed: resumedFrom !== undefined };
}

function rangesOf(ranges: NonNullable<LiveHistoryRequest['ranges']>): RangesByEdge {
  const { edgesMax, rangesMax, rangesPerEdgeMax } = liveHistoryLimits;
  const all = Object.values(ranges).flat();
  const field = 'body.ranges';
  const edges = Object.keys(ranges).length;
  if (edges > edgesMax || all.length > rangesMax) {
    const detail = `has ${all.length} ranges of ${edges} edges; at most ${rangesMax} of ${edgesMax}: ask for the others in a further call`;
    throw unprocessable('The body is not valid', [{ field, detail }]);
  }
  const wrong = all.find(([first, last]) => last !== null && last < first);
  if (wrong !== undefined) {
    const detail = `has the range ${JSON.stringify(wrong)}, which ends before it begins`;
    throw badRequest('The body is not valid', [{ field, detail }]);
  }
  const byEdge = Object.entries(ranges).map(
    ([edge, list]) => [edge, merged(list.map(([first, last]) => ({ first, last })))] as const,
  );
  const large = byEdge.find(([, list]) => list.length > rangesPerEdgeMax);
  if (large !== undefined) {
    const detail = `has ${large[1].length} separate ranges of the edge ${JSON.stringify(large[0])}; at most ${rangesPerEdgeMax}: ask for the others in a further call`;
    throw unprocessable('The body is not valid', [{ field, detail }]);
  }
  return Object.fromEntries(byEdge);
}

async function* linesOf({
  positions,
  earliest,
  uncovered,
  left,
  batches,
}: LiveHistory): AsyncGenerator<object[], void> {
  const beginning: LiveHistoryBeginning = {
    ...wirePosition(positions),
    ...(earliest !== undefined && { earliest: isoTime(earliest) }),
    ...(uncovered.length > 0 && { uncovered }),
  };
  yield [beginning];
  let end = 0;
  for await (const batch of batches) {
    end += batch.length;
    yield batch.map(({ ts, receivedAt, metrics, ...identity }) => ({
      ...identity,
      ts: isoTime(ts),
      receivedAt: isoTime(receivedAt),
      metrics,
    }));
  }
  const ranges = Object.entries(left).map(([edge, list]) => [edge, list.map(({ first, last }) => [first, last])]);
  yield [{ end, ...(ranges.length > 0 && { left: Object.fromEntries(ranges) }) }];
}

function wirePosition(positions: Positions): LivePosition {
  const { installation, edgesKnown, keys, settled, closed, completeUntil } = positions;
  const until = completeUntil === null ? null : isoTime(completeUntil);
  return { installation, edgesKnown, keys, settled, closed, completeUntil: until };
}
