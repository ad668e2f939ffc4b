import type { HttpAnswer } from './http-client.ts';

/** Device, epoch and number. */
type Identity = readonly [string, string, number];

interface Accepted {
  readonly streams: readonly {
    readonly deviceId: string;
    readonly epoch: string;
    readonly firstSeq: number;
    readonly lastSeq: number;
  }[];
}

interface Element {
  readonly deviceId?: string;
  readonly device_id?: string;
  readonly epoch?: unknown;
  readonly seq?: unknown;
  readonly readings?: unknown;
}

/**
 * The readings that an answer to `POST /api/v1/telemetry` calls safe: those of the identities in a 202; with a 422 that accepted some, those of
 * the elements that it does not name.
 */
export function promisedBy(body: Buffer, { status, body: answer }: HttpAnswer, ownDevice: string): Identity[] {
  if (status === 202) {
    const { streams } = JSON.parse(answer) as Accepted;
    return streams.flatMap(({ deviceId, epoch, firstSeq, lastSeq }) =>
      numbered(deviceId, epoch, firstSeq, lastSeq - firstSeq + 1),
    );
  }
  if (status !== 422) return [];
  const {
    accepted,
    errors,
    errorsOmitted = 0,
  } = JSON.parse(answer) as {
    accepted: number;
    errors: readonly { field: string }[];
    errorsOmitted?: number;
  };
  // Without the byte order mark, which UTF-8 text may begin with.
  const elements = JSON.parse(new TextDecoder().decode(body)) as unknown;
  if (accepted === 0 || errorsOmitted > 0 || !Array.isArray(elements)) return [];
  const refused = new Set(errors.map(({ field }) => Number(/^\[(\d+)\]/.exec(field)?.[1])));
  return elements.flatMap((element: Element | null, index) => {
    if (refused.has(index) || element === null) return [];
    const { deviceId, device_id, epoch, seq, readings } = element;
    if (typeof seq !== 'number' || typeof epoch !== 'string') return [];
    return numbered(deviceId ?? device_id ?? ownDevice, epoch, seq, Array.isArray(readings) ? readings.length : 1);
  });
}

function numbered(deviceId: string, epoch: string, first: number, count: number): Identity[] {
  return Array.from({ length: count }, (_, index) => [deviceId, epoch, first + index] as const);
}
