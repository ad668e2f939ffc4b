import { basename, extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Credentials } from './credentials.ts';
import { csvEpoch } from '@fleetwire/cli/transfer/csv-file';
import { type CsvReading, readCsv } from './csv-file.ts';
import { type DeviceClient, startDeviceClient } from './device-client.ts';
import { observationText } from './frame.ts';
import type { ClientJournal } from './journal.ts';
import type { LinkStatistics } from './uplink.ts';

export interface ReplayOptions {
  readonly url: string;
  readonly files: readonly string[];
  readonly credentials: Credentials;
  readonly statistics: LinkStatistics;
  /** Replays all files as this device, one after the other; by default each file is a device of its name. */
  readonly deviceId?: string;
  /** By default a hash of the file's content, so that replaying a file twice stores it once. */
  readonly epoch?: string;
  /** Name of the metric in a column called `value`. */
  readonly metric: string;
  readonly readingsPerFrameMax: number;
  /** Factor over the original speed; if omitted, as fast as acks arrive. */
  readonly speedUp?: number;
  readonly signal: AbortSignal;
  readonly settleTimeoutMs: number;
  readonly onBadLine: (file: string, line: number, reason: string) => void;
  /** Called for each journal when its replay begins. */
  readonly onJournal?: (journal: ClientJournal) => void;
}

const bufferReadingsMax = 4_000;

/** Replays files as the telemetry of devices: `seq` is the line number. Resolves when all readings are settled or `signal` fires. */
export async function replayCsv(options: ReplayOptions): Promise<void> {
  if (options.deviceId === undefined) {
    await Promise.all(options.files.map((file) => replayFile(file, deviceIdOf(file), options)));
    return;
  }
  // One after the other: a second session of the same device would replace the first.
  for (const file of options.files) await replayFile(file, options.deviceId, options);
}

export function deviceIdOf(file: string): string {
  return basename(file, extname(file));
}

async function replayFile(file: string, deviceId: string, options: ReplayOptions): Promise<void> {
  const { url, credentials, statistics, readingsPerFrameMax, signal, settleTimeoutMs, onBadLine, onJournal, metric } =
    options;
  const epoch = options.epoch ?? (await csvEpoch(file));
  const credential = await credentials(deviceId);
  const client = startDeviceClient({
    url,
    deviceId,
    epoch,
    ...credential,
    statistics,
    bufferReadingsMax,
    readingsPerFrameMax,
  });
  onJournal?.(client.journal);
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  try {
    const lines = readCsv(file, { metric, onBadLine: (line, reason) => onBadLine(file, line, reason) });
    await sendLines(client, lines, options, aborted);
    if (!signal.aborted) await Promise.race([client.whenSettled(), aborted]);
  } finally {
    await client.stop({ settleTimeoutMs });
  }
}

async function sendLines(
  client: DeviceClient,
  lines: AsyncIterable<CsvReading>,
  { readingsPerFrameMax, speedUp, signal }: ReplayOptions,
  aborted: Promise<void>,
): Promise<void> {
  const startedAt = performance.now();
  let firstTs: number | undefined;
  let batch: CsvReading[] = [];
  const send = async () => {
    if (client.room < batch.length) await Promise.race([client.whenRoom(batch.length), aborted]);
    if (signal.aborted) return;
    client.sendTexts(batch.map(({ line, ts, metrics }) => ({ seq: line, text: observationText({ ts, metrics }) })));
    batch = [];
  };
  for await (const reading of lines) {
    if (signal.aborted) return;
    firstTs ??= reading.ts;
    const waitMs = speedUp === undefined ? 0 : (reading.ts - firstTs) / speedUp - (performance.now() - startedAt);
    if (waitMs > 0) {
      await send();
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
    batch.push(reading);
    if (batch.length >= readingsPerFrameMax) await send();
  }
  await send();
}
