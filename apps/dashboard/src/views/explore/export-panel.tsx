import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { type Failure, answerOf, api, failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { now } from '../../clock.ts';
import { bytes, count, duration, plural } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { timeOfDay } from '../../times.ts';
import type { SeriesAnswer } from './answer.ts';
import { type ExportJob, endJob, isPending, useExportJobs } from './export-jobs.ts';
import { ExportLine } from './export-line.tsx';
import { type Export, type Format, formats, saveFile, startExport } from './export-stream.ts';
import { jobTexts } from './job-texts.ts';
import { type Question, exportRequest, exportUrl } from './question.ts';

/** Exports that this tab reads, the newest first. They go on while another view is open. */
const streams = signal<readonly Export[]>([]);
const keptMax = 6;
let numbers = 0;

/** The same question as a file: the table of its answer comes to this tab, its stored readings are written by a job of the server. */
export function ExportPanel({
  question,
  answer,
}: {
  readonly question: Question;
  readonly answer: SeriesAnswer | undefined;
}) {
  const [format, setFormat] = useState<Format>('csv');
  const [what, setWhat] = useState<'readings' | 'table'>('table');
  const [failure, setFailure] = useState<Failure>();
  const jobs = useExportJobs();
  const { data: known, failure: unknown } = jobs.state.value;
  const areAsked = known === undefined && unknown === undefined;
  const devices = answer?.covers.devices;
  const rows = (answer?.t?.length ?? 0) * (answer?.series?.length ?? 0);
  const newest = known?.jobs[0];
  const hasAny = newest !== undefined || streams.value.length > 0;
  const asJob = what === 'readings' && known?.areRun === true;
  const isReading = !asJob && streams.value.some(({ state }) => state.value.kind === 'running');

  async function start(): Promise<void> {
    setFailure(undefined);
    if (asJob)
      return change(answerOf(api.POST('/api/v1/exports', { body: exportRequest(question, answer?.covers, format) })));
    numbers += 1;
    const name = `${what}-${numbers}.${format}`;
    const begun = startExport({ url: exportUrl(question, answer?.covers, what, format), name, format });
    streams.value = [begun, ...streams.peek()].slice(0, keptMax);
  }

  async function change(call: Promise<unknown>): Promise<void> {
    try {
      await call;
    } catch (error) {
      setFailure(failureOf(error));
    }
    jobs.refresh();
  }

  return (
    <>
      <div class="h">
        <h2>Export</h2>
      </div>
      <div class="seg-ctl full" role="group" aria-label="Format">
        {formats.map((one) => (
          <button
            key={one.format}
            type="button"
            aria-pressed={format === one.format}
            onClick={() => setFormat(one.format)}
          >
            {one.label}
          </button>
        ))}
      </div>
      <fieldset class="choice">
        <legend class="seen-not">What to export</legend>
        <label>
          <input type="radio" name="export" checked={what === 'readings'} onChange={() => setWhat('readings')} />
          Raw readings{devices === undefined ? '' : ` of ${plural(devices, 'device')}`}
          <span class="dim">{answer === undefined ? ' ' : `${count(answer.covers.values)} values in this range`}</span>
        </label>
        <label>
          <input type="radio" name="export" checked={what === 'table'} onChange={() => setWhat('table')} />
          This table
          <span class="dim">{answer === undefined ? ' ' : `${plural(rows, 'row')}, one for each bucket and line`}</span>
        </label>
      </fieldset>
      <div class="acts2">
        <button
          class="btn"
          type="button"
          disabled={answer === undefined || isReading || areAsked}
          onClick={() => void start()}
        >
          <Icon name="save" />
          Export
        </button>
        {isReading && <span class="dim sm0 mid">One at a time.</span>}
        {asJob && <span class="dim sm0 mid">It goes on when you leave this page.</span>}
      </div>
      {failure !== undefined && <Problem failure={failure} />}
      <div role={hasAny ? 'list' : undefined} aria-label={hasAny ? 'Exports' : undefined}>
        {streams.value.map((one) => (
          <Stream key={one.name} stream={one} />
        ))}
        {known?.jobs.map((job) => (
          <Job key={job.id} job={job} onEnd={() => void change(endJob(job.id))} />
        ))}
      </div>
      <p class="seen-not" role="status">
        {newest === undefined ? '' : `${nameOf(newest)}: ${newest.state}`}
      </p>
    </>
  );
}

const nameOf = ({ id }: ExportJob): string => `readings ${id.slice(0, 8)}`;

/** A job of the server: `readings 3f2a91c0`, with its state, and how far it is. */
function Job({ job, onEnd }: { readonly job: ExportJob; readonly onEnd: () => void }) {
  const texts = jobTexts(job, now.value);
  const label = formats.find(({ format }) => format === job.format)?.label ?? job.format;
  const name = nameOf(job);
  return (
    <ExportLine
      name={name}
      note={`${label}, ${texts.state}`}
      isFailed={job.state === 'failed'}
      share={isPending(job) ? (job.percent ?? 0) / 100 : undefined}
      isKnown={job.percent !== null}
      facts={texts.facts}
    >
      {job.state === 'succeeded' && (
        <a class="link" href={job._links['file'] ?? `/api/v1/exports/${job.id}/file`} download>
          download
        </a>
      )}{' '}
      <button class="link" type="button" aria-label={`${isPending(job) ? 'Cancel' : 'Remove'} ${name}`} onClick={onEnd}>
        {isPending(job) ? 'cancel' : 'remove'}
      </button>
    </ExportLine>
  );
}

/** An export that this tab reads; its rows are counted as they come. */
function Stream({ stream: { name, format, state, cancel } }: { readonly stream: Export }) {
  const { kind, bytes: size, rows, estimatedRows, beganAt, endedAt, file, why } = state.value;
  const share = rows !== undefined && estimatedRows ? Math.min(0.99, rows / estimatedRows) : undefined;
  const facts = [
    ...(share === undefined || kind !== 'running' ? [] : [`${Math.floor(share * 100)} %`]),
    ...(rows === undefined ? [] : [plural(rows, 'row')]),
    bytes(size),
    ...(kind === 'running' && share !== undefined && share > 0.02
      ? [`${duration(((Date.now() - beganAt) / share) * (1 - share))} left`]
      : []),
  ];
  const notes = {
    running: formats.find((one) => one.format === format)!.label,
    ready: `ready, ${endedAt === undefined ? '' : timeOfDay(endedAt)}`,
    cancelled: 'cancelled',
    failed: 'failed',
  };
  return (
    <ExportLine
      name={name}
      note={notes[kind]}
      isFailed={kind === 'failed'}
      share={kind === 'running' ? (share ?? 0) : undefined}
      isKnown={share !== undefined}
      facts={why ?? facts.join(' · ')}
    >
      {kind === 'running' && (
        <button class="link" type="button" onClick={cancel}>
          cancel
        </button>
      )}
      {kind === 'ready' && file !== undefined && (
        <button class="link" type="button" onClick={() => saveFile(file, name)}>
          download
        </button>
      )}
    </ExportLine>
  );
}
