import { isDeepStrictEqual } from 'node:util';
import { eventually } from '@fleetwire/platform/testing/eventually';
import type { Breach } from './audit.ts';
import type { DeviceJournal } from './device-journal.ts';
import { rangesText } from './numbers.ts';
import type { ChaosPlatform } from './platform.ts';

export interface ComparedAnswers {
  readonly devices: number;
  /** Readings of the history, all pages. */
  readonly readings: number;
  readonly breaches: readonly Breach[];
}

/** An answer of query-api, as docs/openapi.json describes it. */
interface Page<Item> {
  readonly data: readonly Item[];
  readonly page: { readonly next: string | null };
}
interface HistoryReading {
  readonly ts: string;
  readonly epoch: string;
  readonly seq: number;
  readonly metrics: Readonly<Record<string, unknown>>;
}
interface Gap {
  readonly epoch: string;
  readonly from: number;
  readonly to: number;
}
export interface Latest {
  readonly ts: string;
  readonly metrics: Readonly<Record<string, unknown>>;
}
interface Sent {
  readonly ts: number;
  readonly metrics: Readonly<Record<string, unknown>>;
}

/** Larger runs are compared for as many devices as have this many readings together. */
const readingsMax = 200_000;
const identitiesShownMax = 20;
const historyPageMax = 5_000;
const gapsPageMax = 1_000;
const timeoutMs = 60_000;
const intervalMs = 500;
const requestTimeoutMs = 15_000;

/** Reads history, gaps and latest state of the devices through query-api, and compares them with the journals: what was acknowledged is there. */
export async function compareAnswers(
  { services, platform }: ChaosPlatform,
  journals: readonly DeviceJournal[],
): Promise<ComparedAnswers> {
  const headers = { authorization: `Bearer ${await platform.keys.token('chaos', 'analyst')}` };
  const get = <Answer>(path: string) =>
    eventually(
      async () => {
        const url = `${services['query-api'][0]!.url}/api/v1${path}`;
        const response = await fetch(url, { headers, signal: AbortSignal.timeout(requestTimeoutMs) });
        const text = await response.text();
        if (!response.ok) throw new Error(`GET ${path} was answered with ${response.status}: ${text}`);
        return JSON.parse(text) as Answer;
      },
      { timeoutMs, intervalMs },
    );
  const pages = async <Item>(path: string): Promise<Item[]> => {
    const items: Item[] = [];
    for (let next: string | null | undefined; next !== null;) {
      const cursor = next === undefined ? '' : `&cursor=${encodeURIComponent(next)}`;
      const answer: Page<Item> = await get(`${path}${cursor}`);
      items.push(...answer.data);
      next = answer.page.next;
    }
    return items;
  };

  const breaches = {
    'the history in query-api is not what was acknowledged': [] as string[],
    'the gaps in query-api are not what was not acknowledged': [] as string[],
    'the latest state in query-api is not the newest': [] as string[],
  };
  type Rule = keyof typeof breaches;
  const check = (rule: Rule, deviceId: string, problems: readonly string[]) =>
    breaches[rule].push(...problems.map((problem) => `${deviceId}: ${problem}`));
  let devices = 0;
  let readings = 0;
  for (const journal of journals) {
    const { deviceId, epoch } = journal;
    const acked = sentReadings(journal);
    if (acked.size === 0) continue;
    if (readings + acked.size > readingsMax) break;
    devices += 1;
    readings += acked.size;
    const device = `/devices/${encodeURIComponent(deviceId)}`;
    const history = await pages<HistoryReading>(`${device}/readings?order=asc&limit=${historyPageMax}`);
    const ofEpoch = history.filter((reading) => reading.epoch === epoch);
    const gaps = await pages<Gap>(`${device}/gaps?epoch=${epoch}&limit=${gapsPageMax}`);
    const latest = await get<Latest>(`${device}/latest`);
    check('the history in query-api is not what was acknowledged', deviceId, historyProblems(acked, ofEpoch));
    check(
      'the gaps in query-api are not what was not acknowledged',
      deviceId,
      gapProblems(new Set(acked.keys()), gaps),
    );
    check('the latest state in query-api is not the newest', deviceId, latestProblems([...acked.values()], latest));
  }
  const found = Object.entries(breaches).filter(([, problems]) => problems.length > 0);
  return {
    devices,
    readings,
    breaches: found.map(([rule, problems]) => ({
      rule,
      readings: 0,
      identities: problems.slice(0, identitiesShownMax),
    })),
  };
}

/** What was acknowledged and must be stored, by number. */
function sentReadings(journal: DeviceJournal): Map<number, Sent> {
  const sent = new Map<number, Sent>();
  for (const { seq, text, fate, kind } of journal.entries.values())
    if (fate === 'acked' && kind === 'storable') sent.set(seq, JSON.parse(text) as Sent);
  return sent;
}

/** Pure, as the next two. @returns sentences; none where the history is what was sent */
export function historyProblems(sent: ReadonlyMap<number, Sent>, history: readonly HistoryReading[]): string[] {
  const problems: string[] = [];
  const listed = new Set(history.map(({ seq }) => seq));
  const missing = new Set(sent.keys()).difference(listed);
  const surplus = listed.difference(new Set(sent.keys()));
  if (missing.size > 0) problems.push(`the history lacks ${rangesText(missing)}`);
  if (surplus.size > 0) problems.push(`the history lists ${rangesText(surplus)}, which were not acknowledged`);
  if (listed.size < history.length) problems.push(`the history repeats ${history.length - listed.size} readings`);
  if (history.some(({ ts }, index) => index > 0 && Date.parse(ts) < Date.parse(history[index - 1]!.ts)))
    problems.push('the history is not in the order of time');
  const altered = history.filter(({ seq, ts, metrics }) => {
    const original = sent.get(seq);
    return original !== undefined && !isDeepStrictEqual({ ts: Date.parse(ts), metrics }, original);
  });
  if (altered.length > 0) problems.push(`the history alters ${rangesText(altered.map(({ seq }) => seq))}`);
  return problems;
}

export function gapProblems(acked: ReadonlySet<number>, gaps: readonly Gap[]): string[] {
  const [first, last] = [Math.min(...acked), Math.max(...acked)];
  const missing = new Set<number>();
  for (let seq = first; seq <= last; seq += 1) if (!acked.has(seq)) missing.add(seq);
  const reported = new Set<number>();
  for (const { from, to } of gaps) for (let seq = from; seq <= to; seq += 1) reported.add(seq);
  if (isDeepStrictEqual(reported, missing)) return [];
  return [`/gaps reports ${rangesText(reported) || 'none'}; missing are ${rangesText(missing) || 'none'}`];
}

export function latestProblems(sent: readonly Sent[], latest: Latest): string[] {
  const problems: string[] = [];
  const newest = new Map<string, { ts: number; values: unknown[] }>();
  for (const { ts, metrics } of sent)
    for (const [name, value] of Object.entries(metrics)) {
      const known = newest.get(name);
      if (known === undefined || ts > known.ts) newest.set(name, { ts, values: [value] });
      // Of readings with one time, the one that arrived later is the latest: the journal does not know which.
      else if (ts === known.ts) known.values.push(value);
    }
  const lastTs = sent.reduce((max, { ts }) => Math.max(max, ts), 0);
  if (Date.parse(latest.ts) !== lastTs)
    problems.push(`/latest is of ${latest.ts}; the newest reading is of ${new Date(lastTs).toISOString()}`);
  for (const [name, { values }] of newest)
    if (!values.some((value) => isDeepStrictEqual(value, latest.metrics[name])))
      problems.push(
        `/latest has ${JSON.stringify(latest.metrics[name])} for ${name}; the newest value is ${JSON.stringify(values[0])}`,
      );
  const unknown = Object.keys(latest.metrics).filter((name) => !newest.has(name));
  if (unknown.length > 0) problems.push(`/latest has ${unknown.join(', ')}, which was never sent`);
  return problems;
}
