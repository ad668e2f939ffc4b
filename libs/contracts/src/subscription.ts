import Type, { type Static } from 'typebox';
import { DeviceType, Tag } from './device-registry.ts';
import { DeviceId } from './identifiers.ts';
import { limits } from './limits.ts';
import { parserOf } from './schema-issue.ts';

/** Chosen by the client, unique on its socket; every answer about the subscription carries it. */
const SubscriptionId = Type.String({ minLength: 1, maxLength: 64 });

const Pattern = Type.String({
  minLength: 1,
  maxLength: limits.patternCharactersMax,
  description: 'Matches a whole device id: `*` is any text, `?` one character',
});

/** What a subscription can tell of its devices. */
export const subscriptionEvents = ['readings', 'presence', 'commands', 'registry'] as const;
export type SubscriptionEvent = (typeof subscriptionEvents)[number];

/** Which devices are watched: all that are given apply. `deviceType` is the registry's `type`, which is the type of the message on a socket. */
const SubscriptionFilter = Type.Object({
  devices: Type.Optional(Type.Array(DeviceId, { minItems: 1, maxItems: limits.subscriptionDevicesMax })),
  pattern: Type.Optional(
    Type.Union([Pattern, Type.Array(Pattern, { minItems: 1, maxItems: limits.subscriptionPatternsMax })]),
  ),
  tag: Type.Optional(
    Type.Union([Tag, Type.Array(Tag, { minItems: 1, maxItems: limits.subscriptionTagsMax })], {
      description: 'Devices that have all of these tags in the registry, from when they have them',
    }),
  ),
  deviceType: Type.Optional(DeviceType),
  metrics: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: limits.metricNameCharactersMax }), {
      minItems: 1,
      maxItems: limits.subscriptionMetricsMax,
    }),
  ),
});

/** A subscription without its id, which a stream of events does not need. */
export const SubscriptionSelection = Type.Object({
  ...SubscriptionFilter.properties,
  events: Type.Optional(
    Type.Array(Type.String(), { minItems: 1, maxItems: 4, description: `Of ${subscriptionEvents.join(', ')}` }),
  ),
  maxRateHz: Type.Optional(Type.Number({ minimum: 0.1, maximum: 50 })),
  mode: Type.Optional(Type.Enum(['complete', 'latest'])),
  since: Type.Optional(Type.String({ maxLength: 64 })),
  cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 4_096 })),
});

const SubscribeRequest = Type.Object({ id: SubscriptionId, ...SubscriptionSelection.properties });
export type SubscribeRequest = Static<typeof SubscribeRequest>;

/** Members of a `subscribe` message; others are refused, since a filter that is not known would select too much. */
export const subscribeMembers: ReadonlySet<string> = new Set(['type', ...Object.keys(SubscribeRequest.properties)]);

export const parseSubscribe = parserOf(SubscribeRequest);
export const parseUnsubscribe = parserOf(Type.Object({ id: SubscriptionId }));
export const parseAuthenticate = parserOf(Type.Object({ token: Type.String({ minLength: 1, maxLength: 16_384 }) }));

export const subscriptionFrameTypes = ['subscribe', 'unsubscribe', 'authenticate'] as const;
export type SubscriptionFrameType = (typeof subscriptionFrameTypes)[number];
