import { minuteOf } from '@fleetwire/contracts/edge-report';
import { services } from '@fleetwire/contracts/instance-beat';
import { readInstances } from '@fleetwire/store/instances';
import { readAcknowledgements } from '@fleetwire/store/reconciliation-acknowledgements';
import Type from 'typebox';
import { instanceStates, reportInstances } from './instances.ts';
import { route } from './route.ts';
import { Count, Time, orNull } from './schemas.ts';
import { isoTime } from './time-range.ts';

const acknowledgedMinutes = 25 * 60;

const Instance = Type.Object(
  {
    service: Type.Enum([...services]),
    instanceId: Type.String({ description: 'Of ingest-ws the one of the reconciliation report' }),
    name: Type.String({ description: 'INSTANCE_NAME, or the name of its host' }),
    version: Type.String(),
    state: Type.Enum([...instanceStates], {
      description:
        '`holding`: it runs, and an edge cannot acknowledge readings or a worker cannot write; `stopped`: nothing was heard for 12 s, and it did not say that it ends; `finished`: it has drained; `unknown`: nothing is heard now, because this query-api has just started or the broker is unavailable',
    }),
    startedAt: Time,
    lastSeenAt: Time,
    acknowledged: Type.Boolean({
      description: 'Stopped, and an operator has acknowledged the time (POST /ledger/acknowledgements)',
    }),
    perSecond: orNull(
      Type.Number({ minimum: 0 }),
      'Readings acknowledged by ingest-ws or stored by persistence-worker, calls of query-api: the mean of some seconds; null while not known',
    ),
    sockets: orNull(Count, 'Open sockets of ingest-ws'),
    transactions: orNull(
      Type.Object({ busy: Count, max: Count }),
      'Transactions of persistence-worker under way, and at most',
    ),
  },
  { title: 'Instance' },
);

export const instanceRoutes = [
  route({
    method: 'get',
    path: '/instances',
    operationId: 'listInstances',
    tag: 'Operations',
    summary: 'Every running instance of every service, and those that have stopped',
    description:
      'Instances tell every 3 s that they run. One that has ended is left out once another has started under its name, or after 24 h.',
    roles: ['operator', 'admin'],
    success: {
      status: 200,
      description: 'By service, running ones first, then by name',
      schema: Type.Object(
        {
          complete: Type.Boolean({
            description: 'false: Postgres does not answer, or beats do not arrive over the broker; there may be others',
          }),
          data: Type.Array(Instance),
        },
        { title: 'Instances' },
      ),
    },
    handler: async ({ now }, { instances, scans }) => {
      const toMinute = minuteOf(now) + 1;
      const [stored, acknowledged] = await Promise.all([
        scans.run(readInstances, {}).catch(() => undefined),
        scans.run(readAcknowledgements, { fromMinute: toMinute - acknowledgedMinutes, toMinute }).catch(() => []),
      ]);
      const heard = instances.heard();
      const found = reportInstances({ heard, stored: stored ?? [], acknowledged, hearsAll: instances.hearsAll, now });
      return {
        complete: stored !== undefined && instances.isConnected,
        data: found.map(({ startedAt, lastSeenAt, isAcknowledged, perSecond, sockets, transactions, ...one }) => ({
          ...one,
          startedAt: isoTime(startedAt),
          lastSeenAt: isoTime(lastSeenAt),
          acknowledged: isAcknowledged,
          perSecond: perSecond ?? null,
          sockets: sockets ?? null,
          transactions: transactions ?? null,
        })),
      };
    },
  }),
];
