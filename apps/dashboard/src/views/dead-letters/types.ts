import type { components } from '@fleetwire/client/openapi';

type Schemas = components['schemas'];
export type Group = Schemas['DeadLetterGroup'];
export type Letter = Schemas['DeadLetter'];
export type Details = Schemas['DeadLetterDetails'];
export type Replay = Schemas['DeadLetterReplay'];
export type Action = Schemas['DeadLetterEvent'];
export type Status = Letter['status'];
export const statuses: readonly Status[] = ['open', 'replaying', 'stored', 'discarded'];
