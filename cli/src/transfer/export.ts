import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { answerOf } from '@fleetwire/client/client';
import type { paths } from '@fleetwire/client/openapi';
import { Command, Option } from 'commander';
import { type Connection, createApi, withConnection } from '../api.ts';
import { action, print } from '../output.ts';
import { finishExportJob, startExportJob } from './export-job.ts';
import { countText, Progress } from './progress.ts';

interface Settings extends Connection {
  readonly device?: string;
  readonly devices?: string;
  readonly pattern?: string;
  readonly tag?: string;
  readonly type?: string;
  readonly from?: string;
  readonly to?: string;
  readonly metrics?: string;
  readonly format: string;
  readonly layout?: string;
  readonly out?: string;
  readonly job?: string | true;
}

type FleetQuery = NonNullable<paths['/api/v1/readings']['get']['parameters']['query']>;
type DeviceQuery = NonNullable<paths['/api/v1/devices/{id}/readings']['get']['parameters']['query']>;

/** Formats in which a reading is a line. */
const lineFormats: ReadonlySet<string> = new Set(['csv', 'ndjson', 'json']);
const newline = 0x0a;

export function exportCommand(signal: AbortSignal): Command {
  const command = withConnection(
    new Command('export').description('write stored readings to a file, or to standard output'),
  )
    .option('--device <id>', 'readings of this device, oldest first')
    .option('--devices <ids>', 'readings of these devices, separated by commas')
    .option('--pattern <glob>', 'readings of devices whose id matches, such as press-*; * for all')
    .option('--tag <tag>', 'readings of devices with this tag')
    .option('--type <type>', 'readings of devices of this type')
    .option('--from <time>', 'start of the range, included: RFC 3339 or now-6h')
    .option('--to <time>', 'end of the range, excluded')
    .option('--metrics <names>', 'only these metrics, separated by commas')
    .addOption(
      new Option('--format <format>', 'form of the file')
        .choices(['csv', 'ndjson', 'json', 'parquet', 'arrow'])
        .default('csv'),
    )
    .addOption(
      new Option('--layout <layout>', 'a column for each metric, or a row for each value').choices(['wide', 'long']),
    )
    .option('--out <file>', 'file that is written; it appears when it is complete')
    .option(
      '--job [id]',
      'let the server write the file first, and download it in parts, for exports that take long; with an id, continue with that job',
    );

  return action(command, async ({ device, out, json, job, ...settings }: Settings) => {
    const { devices, pattern, tag, type, from, to, metrics, format, layout } = settings;
    const range = { from, to, metrics: metrics?.split(','), format, layout };
    const selection = { devices: devices?.split(','), pattern, tag, type };
    const api = createApi(settings, signal, { timeoutMs: Infinity });
    if (job !== undefined) {
      if (out === undefined) return command.error('error: --job needs --out');
      const options = { api, signal, out };
      const request = { ...selection, ...(device !== undefined && { devices: [device] }), ...range };
      const id = job === true ? await startExportJob(options, request as never) : job;
      const size = await finishExportJob(options, id);
      return print({ file: out, bytes: size }, `${out}: ${countText(size, 'byte')}`, json);
    }
    const call =
      device === undefined
        ? api.GET('/api/v1/readings', {
            params: { query: { ...selection, ...range } as FleetQuery },
            parseAs: 'stream',
          })
        : api.GET('/api/v1/devices/{id}/readings', {
            params: { path: { id: device }, query: range as DeviceQuery },
            parseAs: 'stream',
          });
    const content = await answerOf<ReadableStream | null>(call);
    const { headers } = (await call).response;
    const estimate = Number(headers.get('x-fleetwire-estimated-rows') ?? Number.NaN);
    const progress = new Progress();
    let bytes = 0;
    let lines = 0;
    const counting = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        if (lineFormats.has(format)) for (const byte of chunk) if (byte === newline) lines += 1;
        const share = lines > 0 && estimate > 0 ? lines / estimate : undefined;
        progress.show(share, `${(bytes / 1e6).toFixed(1)} MB`);
        done(null, chunk);
      },
    });
    const body = Readable.fromWeb(content as never);
    try {
      if (out === undefined) await pipeline(body, counting, process.stdout, { end: false, signal });
      else await writeWhole(out, (file) => pipeline(body, counting, file, { signal }));
    } catch (error) {
      signal.throwIfAborted();
      throw new Error(`the export was cut after ${bytes} bytes and is not complete: ${reasonOf(error)}`, {
        cause: error,
      });
    } finally {
      progress.clear();
    }
    if (out !== undefined) print({ file: out, bytes }, `${out}: ${countText(bytes, 'byte')}`, json);
  });
}

/** Under a name of its own until it is complete. */
async function writeWhole(path: string, write: (file: NodeJS.WritableStream) => Promise<void>): Promise<void> {
  const partial = `${path}.part`;
  try {
    await write(createWriteStream(partial));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message : message;
}
