import type { components } from '@fleetwire/client/openapi';
import { useEffect } from 'preact/hooks';
import { ApiProblem, answerOf, api } from '../../api.ts';
import { type Resource, useResource } from '../../resource.ts';
import { session } from '../../session.ts';

export type ExportJob = components['schemas']['ExportJob'];

export interface ExportJobs {
  /** Without a folder for files the server runs no jobs. */
  readonly areRun: boolean;
  /** Of this caller, the newest first. */
  readonly jobs: readonly ExportJob[];
}

const listedMax = 50;
const shownMax = 6;
const pollMs = 1_000;

/** They are asked for again each second while one is pending. */
export function useExportJobs(): Resource<ExportJobs> {
  const found = useResource(readJobs);
  const { data, receivedAt } = found.state.value;
  const arePending = data?.jobs.some(isPending) === true;
  useEffect(() => {
    if (!arePending) return;
    const timer = setTimeout(() => found.refresh(), pollMs);
    return () => clearTimeout(timer);
  }, [arePending, receivedAt]);
  return found;
}

async function readJobs(signal: AbortSignal): Promise<ExportJobs> {
  try {
    const query = { limit: listedMax };
    const { data } = await answerOf(api.GET('/api/v1/exports', { params: { query }, signal }));
    const who = session.peek();
    // An operator is given those of all callers.
    const own = data.filter(({ createdBy }) => who.kind === 'signed-in' && createdBy === who.subject);
    return { areRun: true, jobs: own.slice(0, shownMax) };
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 501) return { areRun: false, jobs: [] };
    throw error;
  }
}

export const isPending = ({ state }: Pick<ExportJob, 'state'>): boolean => state === 'queued' || state === 'running';

/** Cancels a job, or removes one that has ended with its file. @throws {ApiProblem} */
export async function endJob(id: string): Promise<void> {
  await answerOf(api.DELETE('/api/v1/exports/{id}', { params: { path: { id } } }));
}
