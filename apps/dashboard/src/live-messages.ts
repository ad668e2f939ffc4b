/** The messages of the live socket (docs/live.md) as the dashboard reads them. */

export type MetricValue = number | boolean | string | Record<string, unknown>;

export interface LiveReading {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  /** RFC 3339, device time. */
  readonly ts: string;
  readonly receivedAt?: string;
  readonly metrics: Readonly<Record<string, MetricValue>>;
}

export interface DeviceRegistration {
  readonly name: string | null;
  readonly type: string | null;
  readonly status: 'active' | 'maintenance' | 'suspended' | 'retired';
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly expectedIntervalMs: number | null;
}

/** Those of a subscription in mode `complete` carry the cursor from which it can go on. */
export type LiveMessage = { readonly cursor?: string } & (
  | {
      readonly type: 'subscribed';
      readonly id: string;
      readonly mode: string;
      readonly devices: number | null;
      readonly history: 'coming' | 'none';
    }
  | {
      readonly type: 'data_update';
      readonly id: string;
      readonly phase: 'history' | 'live' | 'fill';
      readonly readings: readonly LiveReading[];
      readonly conflated?: number;
    }
  | {
      readonly type: 'pending';
      readonly id: string;
      readonly pendingId: string;
      readonly reason: string;
      readonly acceptedBefore: string | null;
    }
  | {
      readonly type: 'gap';
      readonly id: string;
      readonly gapId: string;
      readonly reason: string;
      readonly from: string | null;
      readonly to: string | null;
    }
  | { readonly type: 'caught_up'; readonly id: string; readonly pendingId?: string; readonly readings: number }
  | { readonly type: 'gap_filled'; readonly id: string; readonly gapId: string; readonly readings: number }
  | {
      readonly type: 'presence';
      readonly id: string;
      readonly deviceId: string;
      readonly status: 'online' | 'stale' | 'offline';
      readonly reason: string;
      readonly since: string;
    }
  | {
      readonly type: 'registry';
      readonly id: string;
      readonly deviceId: string;
      readonly change: string;
      readonly version: number;
      readonly matches: boolean;
      readonly state: DeviceRegistration;
    }
  | {
      readonly type: 'command';
      readonly id: string;
      readonly deviceId: string;
      readonly commandId: string;
      readonly command: string;
      readonly state: string;
      readonly at: string;
    }
  | { readonly type: 'present'; readonly id: string; readonly devices: number; readonly complete: boolean }
  | { readonly type: 'unsubscribed'; readonly id: string; readonly reason: string }
  | {
      readonly type: 'error';
      readonly id?: string;
      readonly code: string;
      readonly message: string;
      readonly retryable?: boolean;
    }
);

/** What a subscription asks for; the members of `subscribe` without its `id`. */
export interface Subscription {
  readonly devices?: readonly string[];
  readonly pattern?: string | readonly string[];
  readonly tag?: readonly string[];
  readonly metrics?: readonly string[];
  readonly mode?: 'complete' | 'latest';
  readonly maxRateHz?: number;
  readonly since?: string;
  readonly events?: readonly ('readings' | 'presence' | 'commands' | 'registry')[];
}
