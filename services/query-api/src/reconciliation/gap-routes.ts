import { DeviceId, Epoch } from '@fleetwire/contracts/identifiers';
import { notFound } from '@fleetwire/runtime/problem';
import type { Database } from '@fleetwire/store/database';
import { gaps, type GapsQuery, sequencesOf, serverEpochPrefix } from '@fleetwire/store/gaps';
import { epochsOf, getDevice } from '@fleetwire/store/registry/devices';
import Type from 'typebox';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { route } from '../route.ts';
import { Count, PageOf, Time, toPage } from '../schemas.ts';
import { isoTime } from '../time-range.ts';

const cursors = cursorCodec(Type.Object({ streamKey: positionFields.key, to: positionFields.number }));

const Seq = Type.Integer({ minimum: 0 });

const Gap = Type.Object(
  {
    epoch: Epoch,
    from: Seq,
    to: Type.Integer({ minimum: 0, description: 'The last missing number' }),
    count: Count,
    deadLettered: Type.Integer({
      minimum: 0,
      description: 'How many of them are dead letters; the others never arrived',
    }),
  },
  { title: 'Gap' },
);

const Conflict = Type.Object(
  {
    seq: Seq,
    storedTs: Time,
    refusedTs: Time,
    receivedAt: Time,
  },
  { title: 'Conflict' },
);

const Sequence = Type.Object(
  {
    epoch: Epoch,
    first: Seq,
    last: Seq,
    stored: Count,
    missing: Type.Integer({ minimum: 0, description: 'Between first and last' }),
    conflicting: Type.Integer({
      minimum: 0,
      description:
        'Readings that were not stored because another reading with the same seq was stored before, with other content: the device uses an epoch twice. Those of a redelivered message count again; in batches with many duplicates only a sample is compared',
    }),
    newestConflicts: Type.Array(Conflict, { description: 'The newest of them, newest first' }),
    numberedBy: Type.Enum(['device', 'server'], {
      description:
        '`server`: the device sends no numbers; a missing one was given to a reading by another instance, or to none',
    }),
  },
  { title: 'Sequence' },
);

export const gapRoutes = [
  route({
    method: 'get',
    path: '/devices/{id}/gaps',
    operationId: 'listGaps',
    tag: 'Operations',
    summary: 'Sequence numbers of a device that are missing, or were used for two readings',
    description:
      'Numbers between the first and the last stored one, by boot: readings that never arrived, were never sent, or were rejected. Numbers lost before the first or after the last stored one are not found here; the reconciliation report (`GET /ledger`) counts them, if they were acknowledged. Epochs that the server numbered are listed only when `epoch` names one.',
    roles: ['device', 'analyst', 'operator', 'admin'],
    params: { id: DeviceId },
    query: {
      epoch: Type.Optional(Epoch),
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'Gaps in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: {
      status: 200,
      description: 'One page of gaps, by boot and number',
      schema: PageOf(
        Gap,
        {},
        { epochs: Type.Array(Sequence, { description: 'The newest boots, oldest of them first' }) },
      ),
    },
    problems: [404],
    handler: async ({ params: { id }, query: { epoch, limit, cursor } }, { scans }) => {
      const scope = { list: 'gaps', id, epoch };
      const after = cursor === undefined ? undefined : cursors.decode(scope, cursor);
      const found = await scans.run(gapsOfKnownDevice, { deviceId: id, epoch, limit: limit + 1, after });
      if (!found)
        throw notFound(epoch === undefined ? `There is no device ${id}` : `There is no epoch ${epoch} of ${id}`);
      const { rows, covered, page } = toPage(found.gaps, { limit }, ({ streamKey, to }) =>
        cursors.encode(scope, { streamKey, to }),
      );
      return {
        epochs: found.sequences.map((sequence) => ({
          epoch: sequence.epoch,
          first: sequence.first,
          last: sequence.last,
          stored: sequence.stored,
          missing: sequence.last - sequence.first + 1 - sequence.stored,
          conflicting: sequence.conflicting,
          newestConflicts: sequence.newestConflicts.map(({ seq, storedTs, refusedTs, receivedAt }) => ({
            seq,
            storedTs: isoTime(storedTs),
            refusedTs: isoTime(refusedTs),
            receivedAt: isoTime(receivedAt),
          })),
          numberedBy: sequence.epoch.startsWith(serverEpochPrefix) ? ('server' as const) : ('device' as const),
        })),
        data: rows.map(({ epoch: boot, from, to, deadLettered }) => ({
          epoch: boot,
          from,
          to,
          count: to - from + 1,
          deadLettered,
        })),
        covers: covered,
        page,
      };
    },
  }),
];

/** @returns undefined where the device, or its epoch, is unknown */
async function gapsOfKnownDevice(
  database: Database,
  { epoch, ...query }: Omit<GapsQuery, 'streams'> & { readonly epoch: string | undefined },
) {
  const { deviceId, signal } = query;
  const sequences = await sequencesOf(database, { deviceId, epoch, signal });
  if (sequences.length > 0) return { sequences, gaps: await gaps(database, { ...query, streams: sequences }) };
  const isKnown =
    epoch === undefined
      ? (await getDevice(database, { deviceId, signal })) !== undefined
      : (await epochsOf(database, { deviceId, signal })).some((one) => one.epoch === epoch);
  return isKnown ? { sequences, gaps: [] } : undefined;
}
