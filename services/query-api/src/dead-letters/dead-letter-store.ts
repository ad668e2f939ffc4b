import type { Database } from '@fleetwire/store/database';
import * as browse from '@fleetwire/store/dead-letters/browse';
import { decideDeadLetters, type Deciding } from '@fleetwire/store/dead-letters/decisions';
import * as replays from '@fleetwire/store/dead-letters/replays';
import type { Circuit } from '../circuit.ts';

type Without<T> = Omit<T, 'signal'>;

/** All that is read and decided about dead letters, inside a circuit of its own. */
export interface DeadLetterStore {
  list(options: Without<Parameters<typeof browse.listDeadLetters>[1]>): Promise<browse.DeadLetterSummary[]>;
  groups(options: Without<Parameters<typeof browse.groupDeadLetters>[1]>): Promise<browse.DeadLetterGroup[]>;
  get(id: string): Promise<browse.StoredDeadLetter | undefined>;
  history(id: string, limit: number): Promise<browse.DeadLetterEvent[]>;
  actions(
    options: Without<Parameters<typeof browse.listDeadLetterActions>[1]>,
  ): ReturnType<typeof browse.listDeadLetterActions>;
  decide(deciding: Without<Deciding>): Promise<number>;
  createReplay(replay: Without<replays.NewReplay>): Promise<replays.Replay | undefined>;
  listReplays(options: Without<Parameters<typeof replays.listReplays>[1]>): Promise<replays.Replay[]>;
  getReplay(id: string): Promise<replays.Replay | undefined>;
  countUnfinishedReplays(limit: number): Promise<number>;
  cancelReplay(id: string, actor: string): Promise<replays.Replay | undefined>;
}

export interface DeadLetterDatabases {
  readonly light: Database;
  /** For groups, which look at every dead letter. */
  readonly history: Database;
  readonly writing: Database;
}

export function createDeadLetterStore(
  { light, history, writing }: DeadLetterDatabases,
  circuit: Circuit,
): DeadLetterStore {
  return {
    list: (options) => circuit.run((signal) => browse.listDeadLetters(light, { ...options, signal })),
    groups: (options) => circuit.run((signal) => browse.groupDeadLetters(history, { ...options, signal })),
    get: (id) => circuit.run((signal) => browse.getDeadLetter(light, { id, signal })),
    history: (id, limit) => circuit.run((signal) => browse.historyOfDeadLetter(light, { id, limit, signal })),
    actions: (options) => circuit.run((signal) => browse.listDeadLetterActions(light, { ...options, signal })),
    decide: (deciding) => circuit.run((signal) => decideDeadLetters(writing, { ...deciding, signal })),
    createReplay: (replay) => circuit.run((signal) => replays.createReplay(writing, { ...replay, signal })),
    listReplays: (options) => circuit.run((signal) => replays.listReplays(light, { ...options, signal })),
    getReplay: (id) => circuit.run((signal) => replays.getReplay(light, { id, signal })),
    countUnfinishedReplays: (limit) =>
      circuit.run((signal) => replays.countUnfinishedReplays(light, { limit, signal })),
    cancelReplay: (id, actor) => circuit.run((signal) => replays.cancelReplay(writing, { id, actor, signal })),
  };
}
