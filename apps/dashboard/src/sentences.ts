import { count, duration, plural, rate, roughDuration } from './format.ts';
import type { Verdict } from './recovery.ts';
import { timeOfDay } from './times.ts';

/** The state of a page in words: a pure function of the API's answers. */
export interface Sentence {
  readonly tone: 'ok' | 'warn' | 'crit' | 'none';
  readonly text: string;
  readonly detail: string;
}

/** What is known of the installation now. What this session may not read, or what has not been answered yet, is undefined. */
export interface FleetFacts {
  readonly devices?:
    | { readonly total: number; readonly online: number; readonly stale: number; readonly offline: number }
    | undefined;
  /** Can readings be accepted? `downSince` where they cannot. */
  readonly broker?: { readonly state: 'up' | 'down'; readonly downSince?: number | undefined } | undefined;
  readonly database?: { readonly state: 'up' | 'down'; readonly downSince?: number | undefined } | undefined;
  readonly queue?: QueueFacts | undefined;
  /** Of the reconciliation report of the last hour. */
  readonly accounts?:
    | { readonly state: 'balanced' | 'settling' | 'incomplete' | 'unbalanced'; readonly missing: number }
    | undefined;
  readonly deadLetters?:
    | { readonly open: number; readonly groups: number; readonly newestAt: number | undefined }
    | undefined;
  /** How far history is behind. */
  readonly delayMs?: number | undefined;
  readonly now: number;
}

interface QueueFacts {
  readonly readings: number;
  readonly oldestMs: number | undefined;
  /** Change of the backlog in readings per second. */
  readonly netPerSecond: number | undefined;
  readonly drainMs: number | undefined;
  /** Until the bound of the queue is reached. */
  readonly fullInMs?: number | undefined;
  /** Workers that pause because Postgres does not write. */
  readonly holding: number;
}

/** A backlog below this is the normal way of a reading, not something to tell. */
const backlogMs = 5_000;
const arrivingMs = 5 * 60_000;

/**
 * Fact, number, consequence, end. The first that applies: cannot accept readings, missing readings, nothing is written, the backlog grows,
 * it shrinks, dead letters arrive, devices are silent, all is well.
 */
export function fleetSentence(facts: FleetFacts): Sentence {
  const { broker, database, queue, accounts, deadLetters, devices, now } = facts;
  const online = onlineText(devices);
  const nothingMissing = accounts?.state === 'balanced' || accounts?.state === 'settling';

  if (broker?.state === 'down')
    return {
      tone: 'crit',
      text: `No reading is accepted${sinceText(broker.downSince, now)}: RabbitMQ does not confirm. Devices keep theirs and send again.`,
      detail: online,
    };
  if (accounts !== undefined && accounts.missing > 0 && accounts.state === 'unbalanced')
    return {
      tone: 'crit',
      text: `${plural(accounts.missing, 'reading')} of the last hour ${accounts.missing === 1 ? 'is' : 'are'} missing.`,
      detail: `They were received and are neither stored nor dead letters. ${online}`.trim(),
    };
  if (database?.state === 'down' || (queue?.holding ?? 0) > 0)
    return {
      tone: 'crit',
      text: `Readings are accepted but not stored${sinceText(database?.downSince, now)}.`,
      detail: [
        queue === undefined
          ? ''
          : `${plural(queue.readings, 'reading')} ${queue.readings === 1 ? 'waits' : 'wait'} in the queue${queue.fullInMs === undefined ? '' : `, which has room for ${duration(queue.fullInMs)}`}.`,
        online,
      ]
        .filter(Boolean)
        .join(' '),
    };
  const behindMs = queue?.oldestMs ?? facts.delayMs ?? 0;
  if (behindMs >= backlogMs) {
    const net = queue?.netPerSecond ?? 0;
    const grows = net > 0;
    const end =
      queue?.drainMs !== undefined && !grows
        ? ` and catches up in ${roughDuration(queue.drainMs)}`
        : grows && queue?.fullInMs !== undefined
          ? ` and falls further behind; the queue is full in ${roughDuration(queue.fullInMs)}`
          : grows
            ? ' and falls further behind'
            : '';
    return {
      tone: 'warn',
      text: `${online} History is ${duration(behindMs)} behind${end}.`.trim(),
      detail: [
        net === 0 ? '' : `The backlog ${grows ? 'grows' : 'shrinks'} by ${rate(Math.abs(net))} readings/s.`,
        queue === undefined
          ? ''
          : `${plural(queue.readings, 'acknowledged reading')} ${queue.readings === 1 ? 'is' : 'are'} in the queue.`,
        nothingMissing ? 'Nothing is missing.' : '',
      ]
        .filter(Boolean)
        .join(' '),
    };
  }
  const storedText =
    facts.delayMs === undefined ? '' : `Readings are stored within ${duration(Math.max(facts.delayMs, 100))}.`;
  if (deadLetters !== undefined && deadLetters.open > 0 && now - (deadLetters.newestAt ?? 0) < arrivingMs)
    return {
      tone: 'warn',
      text: `${online} ${plural(deadLetters.open, 'reading')} could not be stored, and new ones keep arriving.`.trim(),
      detail:
        `They wait as dead letters in ${plural(deadLetters.groups, 'group')} for a decision. ${storedText}`.trim(),
    };
  if (devices === undefined) return { tone: 'none', text: 'Fleet', detail: '' };
  if (devices.total === 0)
    return {
      tone: 'none',
      text: 'No device has sent a reading yet.',
      detail: 'Add a device, and connect it with its token.',
    };
  if (devices.stale > 0 || devices.offline > 0) {
    const silent =
      devices.stale > 0
        ? `${plural(devices.stale, 'device')} ${devices.stale === 1 ? 'is' : 'are'} silent for longer than usual.`
        : '';
    return {
      tone: devices.stale > 0 ? 'warn' : 'none',
      text: `${online} ${silent}`.trim(),
      detail: [
        devices.offline > 0 ? `${count(devices.offline)} offline.` : '',
        storedText,
        nothingMissing ? 'Nothing is missing in the last hour.' : '',
      ]
        .filter(Boolean)
        .join(' '),
    };
  }
  return {
    tone: 'ok',
    text: `${allOnline(devices.total)}${facts.delayMs === undefined ? '.' : ` and every reading is stored within ${duration(Math.max(facts.delayMs, 100))}.`}`,
    detail: nothingMissing ? 'Nothing is missing in the last hour.' : '',
  };
}

function allOnline(total: number): string {
  return total === 1 ? 'The one device is online' : `All ${plural(total, 'device')} are online`;
}

function onlineText(devices: FleetFacts['devices']): string {
  if (devices === undefined || devices.total === 0) return '';
  if (devices.online === devices.total) return `${allOnline(devices.total)}.`;
  return `${count(devices.online)} of ${plural(devices.total, 'device')} ${devices.online === 1 ? 'is' : 'are'} online.`;
}

function sinceText(since: number | undefined, now: number): string {
  return since === undefined ? '' : ` since ${timeOfDay(since)} (${duration(now - since)})`;
}

/** What is lost, since when, and what works on; undefined while nothing is. */
export interface Outage {
  /** When the live connection was lost, and in how long it is tried again. */
  readonly live: { readonly since: number; readonly retryMs: number } | undefined;
  /** When the API answered last, while it does not. */
  readonly api: { readonly since: number | undefined } | undefined;
  readonly now: number;
}

export function outageText({ live, api, now }: Outage): { readonly what: string; readonly rest: string } | undefined {
  const apiSince = api?.since === undefined ? '' : ` since ${timeOfDay(api.since)} (${wholeSeconds(now - api.since)})`;
  if (live !== undefined)
    return {
      what: `The live connection was lost ${wholeSeconds(now - live.since)} ago, at ${timeOfDay(live.since)}.`,
      rest: [
        `Trying again in ${wholeSeconds(Math.max(1_000, live.retryMs))}.`,
        api === undefined
          ? 'History, search and dead letters still work; live values below are the last ones received.'
          : `The API does not answer either${apiSince}; everything below is what was received last.`,
      ].join(' '),
    };
  if (api !== undefined)
    return {
      what: `The API does not answer${apiSince}.`,
      rest: 'Presence and live values go on; history, figures and dead letters below are the last ones received. They are asked for again by themselves.',
    };
  return undefined;
}

/** What the page says after a break; of what was missed it claims what the server has said, and no more. */
export function backText(verdict: Verdict, lostForMs: number, lostAt: number): string {
  const back = `Back after ${duration(lostForMs)}`;
  const range = `since ${timeOfDay(lostAt)}`;
  switch (verdict) {
    case 'reading':
      return `${back}; what was missed is being read.`;
    case 'resumed':
      return `${back}; nothing is missing.`;
    case 'resumed-edge-ended':
      return `${back}; everything stored ${range} is here. An ingest instance has ended: what it accepted last comes once it is stored.`;
    case 'read-again':
      return `${back}; the server did not know the position any more, and history was read again.`;
    case 'missing':
      return `${back}; readings ${range} are not all on this page. They are in the history where they were stored.`;
    case 'present':
      return `${back}; presence and values are those of now.`;
  }
}

function wholeSeconds(ms: number): string {
  return duration(Math.floor(ms / 1_000) * 1_000).replace('.0', '');
}
