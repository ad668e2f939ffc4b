import { count, duration, plural, rate, roughDuration } from '../../format.ts';
import type { Sentence } from '../../sentences.ts';
import { span, timeOfDay } from '../../times.ts';
import { shortName } from './geometry.ts';
import type { Instance, InstanceFacts, PipelineFacts, QueueFacts } from './facts.ts';

/** A backlog below this is the normal way of a reading. */
const backlogMs = 5_000;
const arrivingMs = 5 * 60_000;

/** Where readings are now, and whether any is missing. The first that applies: see the design, section 5. */
export function pipelineSentence(facts: PipelineFacts): Sentence {
  const { queue, database, accounts, deadLetters, brokerAlarms, now } = facts;
  const detail = detailOf(facts);
  const [alarm] = brokerAlarms;
  if (facts.broker === 'down' || alarm !== undefined)
    return {
      tone: 'crit',
      text: `The bottleneck is RabbitMQ: ${alarm === undefined ? 'it does not answer' : `it blocks publishers (${alarm})`}. Devices keep their readings and send them again.`,
      detail,
    };
  const missing = accounts === undefined ? 0 : accounts.missing - accounts.acknowledged.missing;
  if (accounts?.state === 'unbalanced' && missing > 0)
    return {
      tone: 'crit',
      text: `${plural(missing, 'reading')} of the last hour ${missing === 1 ? 'is' : 'are'} missing: received, and neither stored nor dead-lettered.`,
      detail,
    };
  if (database?.state === 'down' || facts.holding > 0)
    return { tone: 'crit', text: `The bottleneck is Postgres: it does not write.${waiting(queue)}`, detail };
  if (queue === undefined) return { tone: 'none', text: 'Pipeline', detail: 'The queues have not been asked yet.' };
  if (queue.messages > 0 && queue.consumers === 0)
    return { tone: 'crit', text: `No worker takes readings from the queue.${waiting(queue)}`, detail };
  if ((queue.oldestMs ?? 0) >= backlogMs) {
    const net = queue.netPerSecond ?? 0;
    if (queue.drainMs !== undefined && net <= 0)
      return {
        tone: 'warn',
        text: `There is no bottleneck now. The queue will be empty in ${roughDuration(queue.drainMs)}.`,
        detail,
      };
    const limit =
      queue.verdict === 'postgres'
        ? 'The bottleneck is Postgres'
        : queue.verdict === 'broker'
          ? 'The bottleneck is RabbitMQ'
          : queue.verdict === 'consumers'
            ? 'The bottleneck is the workers'
            : 'Readings are stored late';
    const end =
      net > 0
        ? `: the queue grows${queue.fullInMs === undefined ? '' : ` and is full in ${roughDuration(queue.fullInMs)}`}.`
        : ': the queue does not shrink.';
    return { tone: 'warn', text: `${limit}${end}`, detail };
  }
  if (deadLetters !== undefined && deadLetters.open > 0 && now - (deadLetters.newestAt ?? 0) < arrivingMs)
    return {
      tone: 'warn',
      text: `There is no bottleneck, but readings are refused: ${count(deadLetters.open)} wait as dead letters, and new ones keep arriving.`,
      detail,
    };
  return {
    tone: 'ok',
    text: `There is no bottleneck${facts.delayMs === undefined ? '.' : `: every reading is stored within ${duration(Math.max(facts.delayMs, 100))}.`}`,
    detail,
  };
}

function waiting(queue: QueueFacts | undefined): string {
  if (queue === undefined || queue.messages === 0) return '';
  const room = queue.fullInMs === undefined ? '' : `, which has room for ${duration(queue.fullInMs)}`;
  return ` ${queued(queue)} ${(queue.readings ?? queue.messages) === 1 ? 'waits' : 'wait'} in the queue${room}.`;
}

/** `70,740 readings`; in messages where no worker has said how many readings they hold. */
function queued({ readings, messages }: QueueFacts): string {
  return readings === undefined ? plural(messages, 'message') : plural(readings, 'reading');
}

function detailOf({ inPerSecond, storedPerSecond, queue, accounts, ingest, workers }: PipelineFacts): string {
  const net = queue?.netPerSecond;
  const rates =
    inPerSecond === undefined || storedPerSecond === undefined
      ? ''
      : `In ${rate(inPerSecond)}/s, stored ${rate(storedPerSecond)}/s`;
  const change =
    net === undefined || Math.abs(net) < 0.05 || (queue?.oldestMs ?? 0) < backlogMs
      ? ''
      : `the backlog ${net > 0 ? 'grows' : 'shrinks'} by ${rate(Math.abs(net))} ${queue?.readings === undefined ? 'messages' : 'readings'}/s`;
  const nothingMissing = accounts?.state === 'balanced' || accounts?.state === 'settling';
  const stopped = [...ingest, ...workers]
    .filter(({ stoppedAt }) => stoppedAt !== undefined)
    .map((one) => stoppedText(one));
  return [
    rates === '' ? '' : `${rates}${change === '' ? '' : `: ${change}`}.`,
    ...stopped,
    nothingMissing ? 'Nothing is missing in the last hour.' : '',
  ]
    .filter(Boolean)
    .join(' ');
}

/** `ingest-3 has not been heard since 14:11:22, and did not say that it ends.` */
export function stoppedText({ name, stoppedAt }: Pick<InstanceFacts, 'name' | 'stoppedAt'>): string {
  return `${shortName(name, 40)} has not been heard since ${timeOfDay(stoppedAt ?? 0)}, and did not say that it ends.`;
}

/** What stands in the vessel below the number: oldest, and when it is empty or full. */
export function vesselLines(queue: QueueFacts): readonly [oldest: string, end: string] {
  const { messages, oldestMs, drainMs, fullInMs, netPerSecond: net } = queue;
  if (messages === 0) return ['nothing waits', ''];
  const oldest = oldestMs === undefined ? 'age not known' : `oldest ${duration(oldestMs)}`;
  if (oldestMs !== undefined && oldestMs < backlogMs) return [oldest, ''];
  if (net !== undefined && net > 0)
    return [oldest, `grows by ${rate(net)}/s${fullInMs === undefined ? '' : `, full in ${duration(fullInMs)}`}`];
  return [oldest, drainMs === undefined ? 'does not shrink' : `empty in ${duration(drainMs)}`];
}

/** One sentence for each stage: for the keyboard and a screen reader in the picture, and as lines on the phone. */
export function stageSentences(facts: PipelineFacts) {
  const { devices, inPerSecond, storedPerSecond, ingest, queue, answering, holding, database, nackedPerSecond } = facts;
  const perSecond = (value: number | undefined) => (value === undefined ? 'rate not known' : `${rate(value)}/s`);
  const running = ingest.filter(({ stoppedAt }) => stoppedAt === undefined).length;
  const open = facts.circuits.filter(({ state }) => state !== 'closed');
  const retrying = facts.retries.filter(({ messages }) => messages > 0);
  return {
    devices:
      devices === undefined ? 'Devices' : `${plural(devices.online, 'device')} online of ${count(devices.total)}`,
    ingest: `ingest, ${perSecond(inPerSecond)} in`,
    ingestNote: `${plural(running, 'instance')} · ${backPressure(nackedPerSecond)}`,
    queue:
      queue === undefined ? 'queue not known' : queue.messages === 0 ? 'the queue is empty' : `${queued(queue)} queued`,
    queueNote:
      queue === undefined || queue.messages === 0
        ? ''
        : [...vesselLines(queue), fullText(queue)].filter(Boolean).join(' · '),
    retries:
      retrying.length === 0
        ? 'no retries'
        : `retry: ${retrying.map(({ label, messages }) => `${count(messages)} after ${label}`).join(', ')}`,
    workers: `${plural(answering, 'worker')}, ${perSecond(storedPerSecond)}`,
    workersNote: holding === 0 ? '' : `${count(holding)} holding: Postgres does not write`,
    postgres:
      database?.state === 'down'
        ? 'Postgres does not answer'
        : `Postgres${database?.latencyMs === undefined ? '' : `, ${count(database.latencyMs)} ms`}`,
    api: `API${facts.apiMs === undefined ? '' : `, ${count(facts.apiMs)} ms`}`,
    apiNote: breakers(facts.circuits.length, open),
    deadLetters: facts.deadLetters === undefined ? '' : `${count(facts.deadLetters.open)} open`,
  };
}

export function backPressure(nackedPerSecond: number | undefined): string {
  if (nackedPerSecond === undefined) return 'back-pressure: not known';
  return nackedPerSecond === 0 ? 'back-pressure: none' : `back-pressure: ${rate(nackedPerSecond)} readings/s sent back`;
}

export function fullText({ messages, fullness }: QueueFacts): string {
  const full =
    fullness === undefined
      ? ''
      : `, ${fullness > 0 && fullness < 0.01 ? 'less than 1' : Math.floor(fullness * 100)} % full`;
  return `${plural(messages, 'message')}${full}`;
}

function breakers(all: number, notClosed: PipelineFacts['circuits']): string {
  if (all === 0) return '';
  if (notClosed.length === 0) return `${all} breakers closed`;
  const worst = notClosed.some(({ state }) => state === 'open') ? 'open' : 'half-open';
  return `${notClosed.length} of ${all} breakers ${worst}`;
}

/** `FleetwireOldestReadingTooOld` in words: `Oldest reading too old`. */
export function alarmName(name: string): string {
  const words = name
    .replace(/^Fleetwire/, '')
    .replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    .trim();
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}

/** `firing 19 min`, `pending`, `14:12–14:13` */
export function alarmWhen(
  { state, since, until }: { readonly state: string; readonly since: string | null; readonly until: string | null },
  now: number,
): string {
  if (state === 'ended' && since !== null && until !== null) return span(Date.parse(since), Date.parse(until));
  if (since === null) return state;
  const ms = Math.max(0, now - Date.parse(since));
  return `${state} ${rounded(ms)}`;
}

/** The mark of an instance, and for how long it runs: `3 d 5 h`, `stopped 20 min ago`. */
export function instanceText(
  { state, startedAt, lastSeenAt, acknowledged }: Pick<Instance, 'state' | 'startedAt' | 'lastSeenAt' | 'acknowledged'>,
  now: number,
): { readonly tone: 'on' | 'off' | 'never'; readonly upFor: string; readonly warns: boolean } {
  const since = (text: string) => rounded(Math.max(0, now - Date.parse(text)));
  if (state === 'running') return { tone: 'on', upFor: since(startedAt), warns: false };
  if (state === 'holding') return { tone: 'on', upFor: `holding, ${since(startedAt)}`, warns: true };
  if (state === 'unknown') return { tone: 'never', upFor: 'not heard', warns: false };
  if (state === 'finished') return { tone: 'off', upFor: `ended ${since(lastSeenAt)} ago`, warns: false };
  return acknowledged
    ? { tone: 'off', upFor: 'stopped, acknowledged', warns: false }
    : { tone: 'off', upFor: `stopped ${since(lastSeenAt)} ago`, warns: true };
}

/** Without what changes faster than it is read. */
function rounded(ms: number): string {
  return duration(ms < 60_000 ? Math.round(ms / 1_000) * 1_000 : Math.floor(ms / 60_000) * 60_000);
}
