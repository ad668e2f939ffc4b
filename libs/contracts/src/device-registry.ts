import Type, { type Static } from 'typebox';
import { DeviceId } from './identifiers.ts';
import { checkNested } from './metrics.ts';
import { type Parsed, accepted, refused } from './validation-issue.ts';

/** Limits of a registry entry, named with their units: about 16 KiB together. */
export const registryLimits = Object.freeze({
  deviceNameCharactersMax: 200,
  deviceTypeCharactersMax: 64,
  deviceTagsMax: 50,
  deviceTagCharactersMax: 64,
  /** As JSON in UTF-8. */
  metadataBytesMax: 8 * 1_024,
  /** Levels of nesting; `{"a":1}` is one level. */
  metadataDepthMax: 5,
  expectedIntervalMinMs: 100,
  expectedIntervalMaxMs: 366 * 24 * 60 * 60 * 1_000,
});

export const deviceStatuses = ['active', 'maintenance', 'suspended', 'retired'] as const;
export type DeviceStatus = (typeof deviceStatuses)[number];

export const DeviceStatus = Type.Enum([...deviceStatuses], {
  description:
    'active: in service; maintenance: raises no alarms; suspended: its readings are refused where ingest-ws knows the registry (REGISTRY_TOKEN); retired: out of service, not listed by default',
});

/** No white space and no comma: lists of tags are separated by commas in URLs. */
export const Tag = Type.String({
  pattern: `^[^\\s,\\u0000-\\u001f\\u007f]{1,${registryLimits.deviceTagCharactersMax}}$`,
  description: `1 to ${registryLimits.deviceTagCharactersMax} characters without white space and commas, by convention key:value`,
  examples: ['site:north', 'line:2'],
});

export const DeviceType = Type.String({
  pattern: `^[^\\s,\\u0000-\\u001f\\u007f]{1,${registryLimits.deviceTypeCharactersMax}}$`,
  description: `Kind of device: 1 to ${registryLimits.deviceTypeCharactersMax} characters without white space and commas`,
  examples: ['press', 'thermometer'],
});

const Name = Type.String({
  minLength: 1,
  maxLength: registryLimits.deviceNameCharactersMax,
  description: 'Name for operators',
  examples: ['Press 7'],
});
const Latitude = Type.Number({ minimum: -90, maximum: 90, description: 'Degrees north (WGS 84)' });
const Longitude = Type.Number({ minimum: -180, maximum: 180, description: 'Degrees east (WGS 84)' });
const Altitude = Type.Number({ minimum: -12_000, maximum: 100_000, description: 'Metres' });
const ExpectedInterval = Type.Integer({
  minimum: registryLimits.expectedIntervalMinMs,
  maximum: registryLimits.expectedIntervalMaxMs,
  description: 'How often the device sends, in milliseconds',
  examples: [60_000],
});

export const DeviceLocation = Type.Object(
  { lat: Latitude, lon: Longitude, alt: Type.Optional(Altitude) },
  { title: 'DeviceLocation', additionalProperties: false },
);
export type DeviceLocation = Static<typeof DeviceLocation>;

const Metadata = Type.Record(Type.String(), Type.Unknown(), {
  description: `Members of your own: at most ${registryLimits.metadataBytesMax} bytes of JSON and ${registryLimits.metadataDepthMax} levels`,
});

/** What a client may set of a device. */
export const DeviceFields = Type.Object(
  {
    name: Type.Optional(Name),
    type: Type.Optional(DeviceType),
    tags: Type.Optional(
      Type.Array(Tag, { maxItems: registryLimits.deviceTagsMax, description: 'Stored in order, each once' }),
    ),
    location: Type.Optional(DeviceLocation),
    metadata: Type.Optional(Metadata),
    expectedIntervalMs: Type.Optional(ExpectedInterval),
  },
  { title: 'DeviceFields', additionalProperties: false },
);
export type DeviceFields = Static<typeof DeviceFields>;

export const NewDevice = Type.Object(
  { deviceId: DeviceId, ...DeviceFields.properties },
  { title: 'NewDevice', additionalProperties: false },
);

const orNull = <T extends Type.TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));

/** JSON merge patch (RFC 7396): null removes a member; location and metadata are merged member by member. */
export const DevicePatch = Type.Object(
  {
    name: orNull(Name),
    type: orNull(DeviceType),
    tags: orNull(Type.Array(Tag, { maxItems: registryLimits.deviceTagsMax })),
    location: orNull(
      Type.Object(
        { lat: orNull(Latitude), lon: orNull(Longitude), alt: orNull(Altitude) },
        { additionalProperties: false },
      ),
    ),
    metadata: orNull(Metadata),
    expectedIntervalMs: orNull(ExpectedInterval),
  },
  { title: 'DevicePatch', additionalProperties: false },
);

/** The rules of metadata, or of a patch to it, that a schema cannot express. */
export function checkMetadata(metadata: unknown): Parsed<unknown> {
  // Depth first: it bounds the recursion of the serialiser.
  const nested = checkNested('metadata', metadata, {
    levelsMax: registryLimits.metadataDepthMax,
    limitName: 'metadataDepthMax',
  });
  if (!nested.ok) return nested;
  const bytes = metadata === undefined ? 0 : Buffer.byteLength(JSON.stringify(metadata));
  return bytes > registryLimits.metadataBytesMax
    ? refused(
        'limit-exceeded',
        'metadata',
        `is ${bytes} bytes of JSON; at most ${registryLimits.metadataBytesMax} (metadataBytesMax)`,
      )
    : accepted(metadata);
}
