/** Limits that devices and services share, named with their units. A service can be configured with lower limits, not with higher ones. */
export const limits = Object.freeze({
  /** One WebSocket frame or HTTP body, as received. */
  payloadBytesMax: 256 * 1024,
  readingsPerFrameMax: 1_000,
  metricsPerReadingMax: 256,
  metricNameCharactersMax: 128,
  textValueCharactersMax: 1_024,
  /** An object value, serialised as JSON. */
  objectValueBytesMax: 4_096,
  /** Levels of nesting inside an object value; `{"a":1}` is one level. */
  objectValueDepthMax: 5,
  subscriptionDevicesMax: 1_000,
  subscriptionPatternsMax: 20,
  subscriptionMetricsMax: 50,
  subscriptionTagsMax: 20,
  patternCharactersMax: 128,
  patternStarsMax: 4,
  commandNameCharactersMax: 64,
  /** Arguments of a command, serialised as JSON. */
  commandArgsBytesMax: 16 * 1024,
  /** What a device answers to a command, serialised as JSON. */
  commandResultBytesMax: 64 * 1024,
  deviceIdCharactersMax: 128,
  epochCharactersMax: 64,
  seqMax: Number.MAX_SAFE_INTEGER,
  /** 2000-01-01T00:00:00Z: older times come from devices whose clock was never set. */
  timestampMinMs: Date.UTC(2000, 0, 1),
  /** How far a device's clock may run ahead of the server's. */
  clockAheadMaxMs: 24 * 60 * 60 * 1_000,
  /** A reading further ahead of its own arrival than this is stored and marked `ahead`, but does not become the latest state. */
  latestAheadMaxMs: 5 * 60 * 1_000,
});
