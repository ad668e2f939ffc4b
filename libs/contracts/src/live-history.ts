import Type, { type Static } from 'typebox';
import { DeviceType, Tag } from './device-registry.ts';
import { DeviceId } from './identifiers.ts';
import { limits } from './limits.ts';

/** The API by which live data is read again by position: docs/positions.md. */
export const liveHistoryLimits = Object.freeze({
  devicesMax: 1_000,
  patternsMax: 20,
  patternCharactersMax: 128,
  metricsMax: 50,
  edgesMax: 1_000,
  rangesMax: 1_000,
  /** After those that overlap or touch are united. */
  rangesPerEdgeMax: 100,
});

const Number = Type.Integer({ minimum: 1, maximum: 2 ** 53 - 1 });

export const LiveHistoryFilter = Type.Object(
  {
    devices: Type.Optional(Type.Array(DeviceId, { minItems: 1, maxItems: liveHistoryLimits.devicesMax })),
    patterns: Type.Optional(
      Type.Array(
        Type.String({
          minLength: 1,
          maxLength: liveHistoryLimits.patternCharactersMax,
          pattern: '^[A-Za-z0-9._:?-]*(\\*[A-Za-z0-9._:?-]*){0,4}$',
          description: 'Device id with `*` (any text, at most 4 of them) and `?` (one character)',
        }),
        { minItems: 1, maxItems: liveHistoryLimits.patternsMax },
      ),
    ),
    tags: Type.Optional(
      Type.Array(Tag, {
        minItems: 1,
        maxItems: limits.subscriptionTagsMax,
        description: 'Devices that have all of these tags now',
      }),
    ),
    deviceType: Type.Optional(DeviceType),
    metrics: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: limits.metricNameCharactersMax }), {
        minItems: 1,
        maxItems: liveHistoryLimits.metricsMax,
        description: 'Only these metrics; readings without any of them are left out',
      }),
    ),
  },
  {
    additionalProperties: false,
    description: 'At least one of `devices`, `patterns`, `tags`, `deviceType`; all that are given apply',
  },
);

/** First and last number; null: for ever. */
const Ranges = Type.Record(
  Type.String({ minLength: 1, maxLength: 64 }),
  Type.Array(Type.Tuple([Number, Type.Union([Number, Type.Null()])]), { maxItems: liveHistoryLimits.rangesMax }),
  { description: 'By instance id of the edge: first and last number of envelopes; null as the last: for ever' },
);

export const LiveHistoryRequest = Type.Object(
  {
    filter: LiveHistoryFilter,
    since: Type.Optional(
      Type.String({ minLength: 1, maxLength: 40, description: 'Device time from which readings come' }),
    ),
    receivedSince: Type.Optional(
      Type.String({ minLength: 1, maxLength: 40, description: 'Arrival from which readings come, instead of `since`' }),
    ),
    ranges: Type.Optional(Ranges),
    resumedFrom: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 40,
        description:
          'With `ranges`: the time of the cursor that they are of. The first line then says what is deleted since',
      }),
    ),
  },
  { additionalProperties: false, title: 'LiveHistoryRequest' },
);
export type LiveHistoryRequest = Static<typeof LiveHistoryRequest>;

const numbersByEdge = (description: string) =>
  Type.Record(Type.String(), Type.Integer({ minimum: 0 }), { description });

export const LivePosition = Type.Object(
  {
    installation: Type.String({ description: 'Changes when the database is restored or promoted' }),
    edgesKnown: Type.Integer({ minimum: 0, description: 'The greatest key of an edge' }),
    keys: numbersByEdge('The key of each edge, by instance id; a newer edge has a greater one'),
    settled: numbersByEdge('For each open edge: all envelopes up to this number are settled'),
    closed: numbersByEdge('The last number of each closed edge: all its envelopes are settled'),
    completeUntil: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
      description:
        'Every acknowledged reading that arrived before this time is stored, or a dead letter; null: not known',
    }),
  },
  { title: 'LivePosition' },
);
export type LivePosition = Static<typeof LivePosition>;

/** The first line of a history. */
export interface LiveHistoryBeginning extends LivePosition {
  /** Readings from before this time are deleted. Only with `since`, `receivedSince` or `resumedFrom`, and where readings were deleted. */
  readonly earliest?: string;
  /** Edges of which the first number of a range is settled and its position is deleted; only with `resumedFrom`. */
  readonly uncovered?: readonly string[];
}
