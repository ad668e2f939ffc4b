import { count, duration, plural } from '../../format.ts';
import type { Sentence } from '../../sentences.ts';
import type { Action, Group, Replay, Status } from './types.ts';

const arrivingMs = 5 * 60_000;

/** How many readings wait for a decision, whether one cause explains most of them, and whether it goes on. */
export function deadLetterSentence(
  groups: readonly Group[] | undefined,
  replays: readonly Replay[],
  now: number,
): Sentence {
  if (groups === undefined) return { tone: 'none', text: 'Dead letters', detail: '' };
  const open = sum(groups, 'open');
  const detail = [openDetail(groups, now), replayText(replays.find(isRunning))].filter(Boolean).join(' ');
  if (open === 0) {
    const done = groups.length === 0 ? 'No reading has been refused.' : '';
    const stored = sum(groups, 'stored');
    const discarded = sum(groups, 'discarded');
    const decided = [
      stored === 0 ? '' : `${plural(stored, 'reading')} ${stored === 1 ? 'was' : 'were'} stored later`,
      discarded === 0 ? '' : `${count(discarded)} discarded`,
    ].filter(Boolean);
    return {
      tone: 'ok',
      text: 'No reading waits for a decision.',
      detail: [done, decided.length === 0 ? '' : `${decided.join(', ')}.`, replayText(replays.find(isRunning))]
        .filter(Boolean)
        .join(' '),
    };
  }
  const first = `${plural(open, 'reading')} ${open === 1 ? 'waits' : 'wait'} for a decision.`;
  const waiting = groups.filter(({ byStatus }) => byStatus.open > 0);
  const largest = Math.max(...waiting.map(({ byStatus }) => byStatus.open));
  const cause =
    waiting.length === 1
      ? open === 1
        ? ''
        : 'All of them have one cause'
      : largest * 2 >= open
        ? `${count(largest)} of them have one cause`
        : `They have ${count(waiting.length)} causes`;
  const arrives = waiting.some(({ lastSeenAt }) => now - Date.parse(lastSeenAt) < arrivingMs);
  const goesOn = arrives ? (cause === '' ? 'New ones keep arriving' : ', and new ones keep arriving') : '';
  const second = `${cause}${goesOn}`;
  return { tone: 'warn', text: second === '' ? first : `${first} ${second}.`, detail };
}

function openDetail(groups: readonly Group[], now: number): string {
  const [largest] = groups
    .filter(({ byStatus }) => byStatus.open > 0)
    .toSorted((a, b) => b.byStatus.open - a.byStatus.open);
  if (largest === undefined) return '';
  const { devices, reason, errorCode, lastSeenAt } = largest;
  const from = devices === 0 ? 'from messages that name no device' : `from ${plural(devices, 'device')}`;
  return `Most of them, ${from}, were ${causeWords(reason)} (${errorCode}); the newest ${duration(Math.max(0, now - Date.parse(lastSeenAt)))} ago.`;
}

const words: Readonly<Record<Group['reason'], string>> = {
  unreadable: 'not readable',
  'invalid-reading': 'not valid readings',
  'refused-by-database': 'refused by Postgres',
  'older-than-retention': 'older than what is kept',
  'too-many-streams': 'of devices with too many streams',
  'retries-exhausted': 'tried until no retry was left',
  'kills-the-worker': 'ending the worker that stored them',
  'delivery-limit': 'delivered too often without an answer',
};

function causeWords(reason: Group['reason']): string {
  return words[reason];
}

export function sum(groups: readonly Group[], status: Status): number {
  return groups.reduce((total, { byStatus }) => total + byStatus[status], 0);
}

export function isRunning({ state }: Replay): boolean {
  return state === 'queued' || state === 'running' || state === 'settling';
}

function replayText(replay: Replay | undefined): string {
  if (replay === undefined) return '';
  const { matched, stored, pending, failedAgain } = replay.counts;
  const rest = [
    `${count(stored)} ${stored === 1 ? 'is' : 'are'} stored`,
    pending > 0 ? `${count(pending)} pending` : '',
    failedAgain > 0 ? `${count(failedAgain)} failed again` : '',
  ].filter(Boolean);
  return `${plural(matched, 'reading')} ${matched === 1 ? 'is' : 'are'} being replayed: ${rest.join(', ')}.`;
}

/** The stages of a replay, from the frozen set to what is stored. */
export function stagesOf({ counts, state }: Replay): readonly { readonly value: number; readonly text: string }[] {
  const { matched, published, stored, failedAgain, unknown, pending } = counts;
  if (state === 'dry-run') return [{ value: matched, text: 'would be published; nothing was' }];
  return [
    { value: matched, text: 'in the frozen set' },
    { value: published, text: 'published' },
    { value: stored, text: 'stored' },
    { value: failedAgain, text: 'failed again' },
    ...(unknown > 0 ? [{ value: unknown, text: 'without an identity, not failed again' }] : []),
    { value: pending, text: state === 'cancelled' ? 'pending when it was cancelled' : 'pending' },
  ];
}

/** Shares of the bar: it is full only when all of the set is stored. */
export function barOf({ counts: { matched, published, stored } }: Replay): {
  readonly published: number;
  readonly stored: number;
} {
  if (matched === 0) return { published: 0, stored: 0 };
  return { published: Math.min(1, published / matched), stored: Math.min(1, stored / matched) };
}

/** What someone did, as a line of the audit trail. */
export function actionText({ action, details, deadLetterId }: Action, groups: readonly Group[] = []): string {
  const chosen = selectionText(details, groups);
  const reason = typeof details['reason'] === 'string' ? `: “${details['reason']}”` : '';
  const note = typeof details['note'] === 'string' ? `: “${details['note']}”` : '';
  const number = typeof details['count'] === 'number' ? ` ${count(details['count'])}` : '';
  switch (action) {
    case 'dry-run':
      return `dry run of ${chosen}`;
    case 'replay-requested':
      return `${details['fingerprints'] === undefined ? '' : 'automatic '}replay of ${chosen}`;
    case 'replay-cancelled':
      return 'replay cancelled';
    case 'replayed':
      return 'replayed';
    case 'edited':
      return `edited and replayed a copy${note}`;
    case 'discarded':
    case 'restored':
      return `${action}${number || (deadLetterId === null ? ` ${chosen}` : ' 1')}${reason}`;
    default:
      return `${action}${reason}`;
  }
}

function selectionText(details: Action['details'], groups: readonly Group[]): string {
  const ids = details['ids'];
  if (Array.isArray(ids)) return plural(ids.length, 'dead letter');
  const several = details['fingerprints'];
  if (Array.isArray(several)) {
    const codes = several.map(
      (one) => groups.find(({ fingerprint }) => fingerprint === one)?.errorCode ?? String(one).slice(0, 8),
    );
    return `${several.length === 1 ? 'group' : 'groups'} ${codes.join(', ')}`;
  }
  const filter = (details['filter'] ?? {}) as Readonly<Record<string, string | undefined>>;
  const group = groups.find(({ fingerprint }) => fingerprint === filter['fingerprint']);
  const parts = [
    filter['fingerprint'] === undefined ? '' : `group ${group?.errorCode ?? filter['fingerprint'].slice(0, 8)}`,
    filter['deviceId'] === undefined ? '' : `device ${filter['deviceId']}`,
    filter['reason'] ?? '',
  ].filter(Boolean);
  return parts.length === 0 ? 'all dead letters' : parts.join(', ');
}

/** The audit trail with what was decided together as one line: of a group, the server notes each dead letter. */
export function auditLines(
  actions: readonly Action[],
  groups: readonly Group[],
): (Pick<Action, 'at' | 'actor'> & { readonly text: string })[] {
  const lines: { at: string; actor: string; text: string; first: Action; number: number }[] = [];
  for (const one of actions) {
    const last = lines.at(-1);
    const isSame =
      last !== undefined &&
      one.action === last.first.action &&
      one.actor === last.actor &&
      one.deadLetterId !== null &&
      (one.action === 'discarded' || one.action === 'restored') &&
      one.details['reason'] === last.first.details['reason'] &&
      Date.parse(last.first.at) - Date.parse(one.at) < 10_000;
    if (!isSame) {
      lines.push({ at: one.at, actor: one.actor, text: actionText(one, groups), first: one, number: 1 });
      continue;
    }
    last.number += 1;
    last.text = actionText({ ...last.first, details: { ...last.first.details, count: last.number } }, groups);
  }
  return lines.map(({ at, actor, text }) => ({ at, actor, text }));
}
