import { replayCsv } from './csv-replay.ts';
import { credentialsFrom } from './credentials.ts';
import { runFleet } from './fleet.ts';
import type { FleetDevice } from './fleet-device.ts';
import type { ClientJournal } from './journal.ts';
import type { OverflowPolicy } from './outbox.ts';
import { type Source, type Totals, problemsOf, progressLine, table, totalsOf } from './report.ts';
import { endpointOf, newLinkStatistics } from './uplink.ts';

/** 2 is the exit code for wrong usage. */
const exitCodes = { fine: 0, notAllAcked: 1, linesSkipped: 3 } as const;
const skippedLinesShownMax = 20;

/** Default rate at which a fleet connects. */
export const connectsPerSecond = 250;

/** Durations are in milliseconds. */
export interface Settings {
  url: string;
  http: boolean;
  token?: string;
  keys?: string;
  devices: number;
  prefix: string;
  rate: number;
  batch?: number;
  duplicates: number;
  outOfOrder: number;
  malformed: number;
  seed: number;
  rampUp?: number;
  count?: number;
  duration?: number;
  buffer: number;
  overflow: OverflowPolicy;
  csv?: string[];
  device?: string;
  epoch?: string;
  metric: string;
  speedUp?: number;
  settleTimeout: number;
  reportEvery: number;
  json: boolean;
}

/** Runs a fleet or a replay, and prints a report. @returns the exit code */
export async function simulate(settings: Settings): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  // Only the first signal: a second Ctrl-C terminates the process.
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const print = (line: string) => (settings.json ? process.stderr : process.stdout).write(`${line}\n`);

  const journals: ClientJournal[] = [];
  let skippedLines = 0;
  const fleet: FleetDevice[] = [];
  const statistics = newLinkStatistics();
  const startedAt = performance.now();
  const source = (): Source => ({
    journals: [...journals, ...fleet.map(({ client }) => client.journal)],
    fleet,
    statistics,
    startedAt,
  });

  let before: Totals | undefined;
  const reporting = setInterval(() => {
    const totals = totalsOf(source(), performance.now());
    print(progressLine(totals, before));
    before = totals;
  }, settings.reportEvery);
  const onBadLine = (line: string) => {
    skippedLines += 1;
    if (skippedLines <= skippedLinesShownMax) process.stderr.write(`${line}\n`);
  };
  const failures: string[] = [];
  try {
    await run(settings, { statistics, signal: interrupted.signal, journals, fleet, onBadLine });
  } catch (error) {
    failures.push(error instanceof Error ? error.message : String(error));
  } finally {
    clearInterval(reporting);
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }

  const totals = totalsOf(source(), performance.now());
  const problems = [...failures, ...problemsOf(source())];
  if (skippedLines > skippedLinesShownMax)
    process.stderr.write(`and ${skippedLines - skippedLinesShownMax} more lines were skipped\n`);
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  process.stdout.write(
    settings.json ? `${JSON.stringify({ ...totals, skippedLines, problems })}\n` : `\n${table(totals)}\n`,
  );
  if (problems.length > 0) return exitCodes.notAllAcked;
  return skippedLines > 0 ? exitCodes.linesSkipped : exitCodes.fine;
}

interface Run {
  readonly statistics: Source['statistics'];
  readonly signal: AbortSignal;
  readonly journals: ClientJournal[];
  readonly fleet: FleetDevice[];
  readonly onBadLine: (line: string) => void;
}

async function run(settings: Settings, { statistics, signal, journals, fleet, onBadLine }: Run): Promise<void> {
  const url = endpointOf(settings.url, settings.http);
  const credentials = await credentialsFrom({
    ...(settings.token === undefined ? {} : { token: settings.token }),
    ...(settings.keys === undefined ? {} : { keysFile: settings.keys }),
  });
  const common = { url, credentials, statistics, signal, settleTimeoutMs: settings.settleTimeout };
  if (settings.csv !== undefined) {
    await replayCsv({
      ...common,
      files: settings.csv,
      ...(settings.device === undefined ? {} : { deviceId: settings.device }),
      ...(settings.epoch === undefined ? {} : { epoch: settings.epoch }),
      ...(settings.speedUp === undefined ? {} : { speedUp: settings.speedUp }),
      metric: settings.metric,
      readingsPerFrameMax: settings.batch ?? 200,
      onBadLine: (file, line, reason) => onBadLine(`${file}:${line}: skipped: ${reason}`),
      onJournal: (journal) => journals.push(journal),
    });
    return;
  }
  await runFleet({
    ...common,
    devices: settings.devices,
    idPrefix: settings.prefix,
    ratePerDevice: settings.rate,
    readingsPerFrame: settings.batch ?? 1,
    misbehaviour: { duplicates: settings.duplicates, outOfOrder: settings.outOfOrder, malformed: settings.malformed },
    seed: settings.seed,
    rampUpMs: settings.rampUp ?? (settings.devices / connectsPerSecond) * 1_000,
    ...(settings.count === undefined ? {} : { countPerDevice: settings.count }),
    ...(settings.duration === undefined ? {} : { durationMs: settings.duration }),
    bufferReadingsMax: settings.buffer,
    overflow: settings.overflow,
    onDevice: (device) => fleet.push(device),
  });
}
