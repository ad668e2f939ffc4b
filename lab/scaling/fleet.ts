/** What the devices send, and which failures must lose or refuse nothing. */
export interface Fleet {
  readonly devices: number;
  readonly secondsPerMessage: number;
  readonly readingsPerMessage: number;
  /** All numbers, as in the bench. */
  readonly metricsPerReading: number;
  readonly retentionDays: number;
  /** The whole fleet must be able to reconnect within this time. */
  readonly reconnectSeconds: number;
  /** Postgres may be unavailable for so long before readings are refused. */
  readonly outageMinutes: number;
  /** Per device; each boot begins a stream. */
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
