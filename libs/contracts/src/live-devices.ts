import Type, { type Static } from 'typebox';
import { LiveHistoryFilter } from './live-history.ts';

/** The API by which an instance with subscribers learns which devices a filter selects, and what they are like now: docs/live.md. */
export const LiveDevicesRequest = Type.Object(
  {
    filter: LiveHistoryFilter,
    events: Type.Optional(
      Type.Array(Type.Enum(['presence', 'registry']), {
        minItems: 1,
        maxItems: 2,
        description: 'With `presence`, and with the state in the `registry`',
      }),
    ),
  },
  { additionalProperties: false, title: 'LiveDevicesRequest' },
);

/** One line of the answer. */
export interface LiveDevice {
  readonly deviceId: string;
  /** Of its registry entry; 0 for a device that is not registered. */
  readonly version: number;
  /** Null for a device that never had a session; `since` is RFC 3339. */
  readonly presence?: { readonly status: string; readonly reason: string; readonly since: string } | null;
  readonly state?: object;
}

export type LiveDevicesRequest = Static<typeof LiveDevicesRequest>;
