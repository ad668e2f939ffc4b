import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '@fleetwire/contracts/limits';
import { answerOf, ApiProblem, type FleetwireClient } from '@fleetwire/client/client';
import { Command, Option } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { positiveInteger } from '../arguments.ts';
import { action, print } from '../output.ts';
import { ingestOption, ingestUrlOf } from '../send.ts';
import { csvEpoch, readCsvRecords } from './csv-file.ts';
import { CsvColumns, type CsvReading, type Layout, layouts } from './csv-readings.ts';
import { countText, Progress } from './progress.ts';

interface Settings extends Connection {
  readonly ingestUrl?: string;
  readonly device?: string;
  readonly epoch?: string;
  readonly layout?: Layout;
  readonly batch: number;
}

/** One element of a telemetry body: readings that follow one another. */
interface Run {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  readonly readings: { readonly ts: number; readonly metrics: object }[];
  readonly lines: number[];
}

interface Counts {
  accepted: number;
  refused: number;
}

const batchBytesMax = limits.payloadBytesMax / 2;
const refusalsShownMax = 20;
const retryMsMax = 30_000;

export function importCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('import')
      .description(
        'send the readings of a CSV file, such as one that export wrote; a file that is imported again stores nothing twice',
      )
      .argument('<file>', 'header line, a column ts (or the first one) with the time, a column for each metric'),
  )
    .addOption(ingestOption())
    .option('--device <id>', 'device of all readings, for a file without the column deviceId')
    .option(
      '--epoch <text>',
      'for a file without epoch and seq: the epoch of its readings (default: a hash of the file)',
    )
    .addOption(
      new Option(
        '--layout <layout>',
        'a column for each metric, or a row for each value (default: long for the header that export --layout long writes)',
      ).choices(layouts),
    )
    .option('--batch <n>', 'readings in one request', positiveInteger, limits.readingsPerFrameMax / 2);

  return action(command, async (settings: Settings) => {
    const [file = ''] = command.args;
    const { token, json, device, epoch, layout, batch } = settings;
    const url = ingestUrlOf(settings, command);
    const api = createApi({ url, ...(token !== undefined && { token }) }, signal);
    const { size, mtimeMs } = await stat(file);
    // Another installation, device, epoch or layout is another import.
    const state = await ImportState.open(file, JSON.stringify([size, mtimeMs, url, device, epoch, layout]));
    const counts: Counts = { accepted: 0, refused: 0 };
    const progress = new Progress();
    const refuse = (line: number, reason: string): void => {
      counts.refused += 1;
      if (counts.refused > refusalsShownMax) return;
      progress.clear();
      process.stderr.write(`line ${line}: ${reason}\n`);
      if (counts.refused === refusalsShownMax) process.stderr.write('further refused readings are only counted\n');
    };
    let bytesRead = 0;
    let readings = 0;
    let pending = new Batch();
    const send = async (): Promise<void> => {
      if (pending.readings > 0) await sendBatch(api, pending, { counts, refuse, signal });
      if (readings > state.done) await state.save(readings);
      pending = new Batch();
      progress.show(size === 0 ? undefined : bytesRead / size, countText(counts.accepted, 'reading'));
    };
    const onBytes = (bytes: number): void => {
      bytesRead = bytes;
    };
    try {
      for await (const reading of readingsOf(file, settings, { onBadLine: refuse, onBytes })) {
        signal.throwIfAborted();
        readings += 1;
        if (typeof reading === 'string' || readings <= state.done) continue;
        pending.add(reading);
        if (pending.readings >= batch || pending.bytes >= batchBytesMax) await send();
      }
      await send();
      await state.remove();
    } catch (error) {
      throw new Error(
        `${(error as Error).message}; ${countText(state.done, 'reading')} of the file are done: the same command continues after them`,
        { cause: error },
      );
    } finally {
      progress.clear();
    }
    const resumed = state.resumedAt === 0 ? '' : `; continued after ${countText(state.resumedAt, 'reading')}`;
    const text = `${file}: ${countText(counts.accepted, 'reading')} accepted, ${counts.refused} refused${resumed}`;
    if (counts.refused > 0) process.exitCode = 1;
    print({ file, ...counts, resumedAt: state.resumedAt, device }, text, json);
  });
}

type Identified = CsvReading & { readonly deviceId: string; readonly epoch: string; readonly seq: number };

/** The readings of the file with the identity that they have in each import. */
async function* readingsOf(
  file: string,
  { device, epoch, layout }: Settings,
  options: Parameters<typeof readCsvRecords>[1],
): AsyncGenerator<Identified> {
  let columns: CsvColumns | undefined;
  let fileEpoch = epoch ?? '';
  let last: CsvReading | undefined;
  const numbers = new Map<string, number>();
  const identified = (reading: CsvReading): Identified => {
    const deviceId = reading.deviceId ?? device!;
    if (reading.epoch !== undefined && reading.seq !== undefined)
      return { ...reading, deviceId, epoch: reading.epoch, seq: reading.seq };
    const seq = numbers.get(deviceId) ?? 0;
    numbers.set(deviceId, seq + 1);
    return { ...reading, deviceId, epoch: fileEpoch, seq };
  };
  for await (const record of readCsvRecords(file, options)) {
    if (columns === undefined) {
      columns = new CsvColumns(record.cells, layout);
      if (!columns.hasDevice && device === undefined)
        throw new Error(`${file} has no column deviceId: say with --device whose readings these are`);
      if (!columns.hasIdentity && epoch === undefined) fileEpoch = await csvEpoch(file);
      continue;
    }
    const reading = columns.read(record);
    if (typeof reading === 'string') options.onBadLine(record.line, reading);
    if (typeof reading !== 'object') continue;
    if (last !== undefined && columns.continues(last, reading)) {
      Object.assign(last.metrics, reading.metrics);
      continue;
    }
    if (last !== undefined) yield identified(last);
    last = reading;
  }
  if (last !== undefined) yield identified(last);
}

class Batch {
  readonly runs: Run[] = [];
  readings = 0;
  bytes = 0;

  add({ deviceId, epoch, seq, ts, metrics, line }: Identified): void {
    const run = this.runs.at(-1);
    const isNext = run?.deviceId === deviceId && run.epoch === epoch && run.seq + run.readings.length === seq;
    if (isNext) {
      run.readings.push({ ts, metrics });
      run.lines.push(line);
    } else this.runs.push({ deviceId, epoch, seq, readings: [{ ts, metrics }], lines: [line] });
    this.readings += 1;
    this.bytes += Buffer.byteLength(JSON.stringify(metrics)) + 200;
  }
}

/** Repeats the request while the installation is busy or away; a request that is repeated stores nothing twice. */
async function sendBatch(
  api: FleetwireClient,
  { runs, readings }: Batch,
  { counts, refuse, signal }: { counts: Counts; refuse: (line: number, reason: string) => void; signal: AbortSignal },
): Promise<void> {
  const body = runs.map(({ deviceId, epoch, seq, readings: of }) => ({ deviceId, epoch, seq, readings: of }));
  for (let waitMs = 500; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
    try {
      await answerOf(api.POST('/api/v1/telemetry', { body: body as never }));
      counts.accepted += readings;
      return;
    } catch (error) {
      signal.throwIfAborted();
      const { status, problem, retryAfterMs } = error instanceof ApiProblem ? error : {};
      const accepted = (problem as { accepted?: number } | undefined)?.accepted;
      if (status === 422 && accepted !== undefined) {
        counts.accepted += accepted;
        for (const { field, detail } of problem?.errors ?? []) refuse(lineOf(field, runs), `${field} ${detail}`);
        return;
      }
      // Without a status it does not answer: which at the first request is rather a mistake in the address.
      const mayPass = status === undefined ? counts.accepted > 0 : status === 429 || status >= 500;
      if (!mayPass) throw error;
      await sleep(retryAfterMs ?? waitMs, undefined, { signal });
    }
  }
}

/** `[2].readings[7].metrics.a` is of the eighth reading of the third run. */
function lineOf(field: string, runs: readonly Run[]): number {
  const [, run = '0', reading = '0'] = /^\[(\d+)\](?:\.readings\[(\d+)\])?/.exec(field) ?? [];
  return runs[Number(run)]?.lines[Number(reading)] ?? 0;
}

/** Beside the file while its import has not ended: how many of its readings are done. */
class ImportState {
  readonly #path: string;
  readonly #version: string;
  readonly resumedAt: number;
  done: number;

  private constructor(path: string, version: string, done: number) {
    this.#path = path;
    this.#version = version;
    this.resumedAt = done;
    this.done = done;
  }

  static async open(file: string, version: string): Promise<ImportState> {
    const path = `${file}.import`;
    const text = await readFile(path, 'utf8').catch(() => '');
    const [, count, of] = /^(\d+) (.*)$/.exec(text.trim()) ?? [];
    return new ImportState(path, version, of === version ? Number(count) : 0);
  }

  async save(done: number): Promise<void> {
    this.done = done;
    await writeFile(this.#path, `${done} ${this.#version}\n`);
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}
