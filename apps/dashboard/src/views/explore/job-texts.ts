import { bytes, duration, plural, roughDuration } from '../../format.ts';
import { moment } from '../../times.ts';
import type { ExportJob } from './export-jobs.ts';

type JobFacts = Pick<
  ExportJob,
  'state' | 'percent' | 'rows' | 'bytes' | 'attempt' | 'estimatedEndAt' | 'finishedAt' | 'expiresAt' | 'problem'
>;

/** What a line says of a job beside its name: `ready, 14:20, kept for about 24 h`, and below `62 % · 525,140 rows · 3.8 MB · 4 s left`. */
export function jobTexts(job: JobFacts, now: number): { readonly state: string; readonly facts: string } {
  const { state, percent, attempt, estimatedEndAt, finishedAt, expiresAt } = job;
  const leftMs = estimatedEndAt === null ? undefined : Date.parse(estimatedEndAt) - now;
  const facts = [
    state === 'running' && percent !== null ? `${percent} %` : '',
    state === 'queued' ? '' : plural(job.rows, 'row'),
    state === 'queued' ? '' : bytes(job.bytes),
    state === 'running' && leftMs !== undefined ? `${duration(Math.max(1_000, leftMs))} left` : '',
  ];
  const words: Record<ExportJob['state'], string> = {
    queued: 'waits for its turn',
    running: attempt > 1 ? `running, attempt ${attempt}` : 'running',
    succeeded: [
      'ready',
      ...(finishedAt === null ? [] : [moment(finishedAt, now)]),
      ...(expiresAt === null ? [] : [`kept for ${roughDuration(Date.parse(expiresAt) - now)}`]),
    ].join(', '),
    failed: 'failed',
    cancelled: 'cancelled',
    expired: 'its file is gone',
  };
  return { state: words[state], facts: state === 'failed' ? reasonOf(job.problem) : facts.filter(Boolean).join(' · ') };
}

function reasonOf(problem: unknown): string {
  const { title, detail } = (problem ?? {}) as { readonly title?: string; readonly detail?: string };
  return [title, detail].filter((text) => text !== undefined).join('. ');
}
