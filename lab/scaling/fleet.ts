/** Who sends what, and what must be survived. */
export interface Fleet {
  readonly devices: number;
  readonly secondsPerMessage: number;
  readonly readingsPerMessage: number;
  /** Numbers, as in the bench. */
  readonly metricsPerReading: number;
  readonly retentionDays: number;
  /** The whole fleet is connected again within it. */
  readonly reconnectSeconds: number;
  /** Without Postgres; nothing is refused meanwhile. */
  readonly outageMinutes: number;
  /** Of a device; each begins a stream. */
  readonly bootsPerDay: number;
}

export function fleetOf(devices: number): Fleet {
  return {
    devices,
    secondsPerMessage: 10,
    readingsPerMessage: 1,
    metricsPerReading: 5,
    retentionDays: 30,
    reconnectSeconds: 60,
    outageMinutes: 10,
    bootsPerDay: 1,
  };
}

export function messagesPerSecond({ devices, secondsPerMessage }: Fleet): number {
  return devices / secondsPerMessage;
}

export function readingsPerSecond(fleet: Fleet): number {
  return messagesPerSecond(fleet) * fleet.readingsPerMessage;
}
