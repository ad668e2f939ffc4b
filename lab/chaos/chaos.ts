import { rm } from 'node:fs/promises';
import { runFleet } from '../fleet/fleet.ts';
import type { FleetDevice } from '../fleet/fleet-device.ts';
import { seededRandom } from '../fleet/random.ts';
import { type Totals, totalsOf } from '../fleet/report.ts';
import { newLinkStatistics } from '../fleet/uplink.ts';
import { type Books, type Breach, audit } from './audit.ts';
import { type Counters, CounterWatch } from './counters.ts';
import { untilDrained } from './drain.ts';
import { eventually } from './eventually.ts';
import { gatherEvidence } from './evidence.ts';
import type { Backing, Fault } from './fault.ts';
import { type OwnBooks, readOwnBooks } from './own-books.ts';
import { type Platform, startPlatform } from './platform.ts';
import { Samples } from './samples.ts';
import { type Appointment, schedule } from './schedule.ts';
import { type TimelineEntry, runLane } from './timeline.ts';

export interface ChaosSettings {
  readonly faults: readonly Fault[];
  readonly minutes: number;
  readonly seed: number;
  /** Readings per second of the whole fleet. */
  readonly rate: number;
  readonly devices: number;
  readonly backing: Backing;
  readonly env: NodeJS.ProcessEnv;
  /** Ends the faults early. */
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface ChaosReport {
  readonly seed: number;
  readonly backing: string;
  readonly notRun: readonly string[];
  readonly timeline: readonly TimelineEntry[];
  readonly fleet: Totals;
  readonly books: Books;
  readonly counters: Counters;
  /** What the platform itself says of the same readings; undefined where it did not say. */
  readonly ownBooks: OwnBooks | undefined;
  readonly deadLetters: readonly { readonly reason: string; readonly error: string; readonly count: number }[];
  readonly samplesCompared: number;
  /** From the last fault healed to the last queue empty. */
  readonly drainSeconds: number;
  readonly breaches: readonly Breach[];
  /** Kept where there is a breach. */
  readonly logDir: string;
}

const connectTimeoutMs = 30_000;
const readyTimeoutMs = 60_000;
const settleTimeoutMs = 60_000;
const drainTimeoutMs = 120_000;
const samplesMax = 2_000;
const bufferReadingsMax = 20_000;
const readingsPerFrame = 5;
const misbehaviour = { duplicates: 0.05, outOfOrder: 0.05, malformed: 0.01 };
const backoff = { baseMs: 200, capMs: 2_000 };
const answerTimeoutMs = 5_000;

/** Starts everything, breaks it by the schedule, heals it, waits until it is at rest, and audits. */
export async function runChaos(settings: ChaosSettings): Promise<ChaosReport> {
  const { minutes, seed, backing, env, say, devices, rate } = settings;
  const failures: Breach[] = [];
  const fail = (rule: string): undefined => {
    failures.push({ rule, readings: 0, identities: [] });
    return undefined;
  };
  const attempt = <T>(what: Promise<T>) => what.catch((error: Error) => fail(error.message));
  const wantsSmallDisk = backing === 'native' && settings.faults.some(({ name }) => name === 'postgres-disk-full');
  await using platform = await startPlatform({ backing, wantsSmallDisk, env, say, onCrash: fail });
  const faults = settings.faults.filter((fault) => canRun(fault, platform, backing));
  const plan = schedule(faults, { durationMs: minutes * 60_000, seed });

  const fleet: FleetDevice[] = [];
  const statistics = newLinkStatistics();
  const samples = new Samples(samplesMax, seededRandom(seed));
  const sending = new AbortController();
  const startedAt = performance.now();
  const startedOn = new Date();
  const running = runFleet({
    url: platform.webSocketUrl,
    credentials: async (deviceId) => ({ token: await platform.token(deviceId, 'device'), isGateway: false }),
    statistics,
    devices,
    idPrefix: 'chaos-',
    ratePerDevice: rate / devices,
    readingsPerFrame,
    misbehaviour,
    seed,
    rampUpMs: 1_000,
    bufferReadingsMax,
    overflow: 'drop-oldest',
    settleTimeoutMs,
    backoff,
    answerTimeoutMs,
    signal: sending.signal,
    onDevice: (device) => fleet.push(device),
    onFrame: (journal, seq, texts) => {
      for (const [index, text] of texts.entries()) samples.add(journal, seq + index, text);
    },
  });
  running.catch(() => {});
  await eventually(() => statistics.connected === devices, {
    timeoutMs: connectTimeoutMs,
    describe: () => `only ${statistics.connected} of ${devices} devices connected`,
  });
  say(`${devices} devices send ${rate} readings/s; ${faults.length} faults on ${plan.size} lanes, seed ${seed}`);

  const counters = new CounterWatch([...platform.services['ingest-ws'], ...platform.services['persistence-worker']]);
  const timeline = await breakEverything(plan, platform, settings);
  for (const { fault, problem } of timeline) if (problem !== undefined) fail(`${fault}: ${problem}`);

  const healedAt = performance.now();
  say('everything is healed; waiting until it is at rest');
  await attempt(platform.untilReady(readyTimeoutMs));
  sending.abort();
  await attempt(running);
  await attempt(untilDrained(platform, drainTimeoutMs));
  const drainSeconds = (performance.now() - healedAt) / 1_000;
  const counted = await counters.stop();
  const ownBooks = await attempt(readOwnBooks(platform, startedOn));

  const evidence = await gatherEvidence(platform.backing.databaseUrl, samples);
  const { books, breaches } = audit(
    fleet.map(({ client, plannedRefusals }) => ({ journal: client.journal, plannedRefusals })),
    evidence,
  );
  for (const { client } of fleet)
    if (client.failure !== undefined) fail(`${client.journal.deviceId} was turned away: ${client.failure.message}`);
  if ((counted['worker stored'] ?? 0) > books.stored)
    fail(`the workers counted ${counted['worker stored']} as stored, there are ${books.stored}`);

  if (ownBooks?.state === 'unbalanced') fail(`the platform's own ledger is out of balance by ${ownBooks.difference}`);
  if (ownBooks !== undefined && ownBooks.stored !== books.stored)
    fail(`the platform's own ledger says ${ownBooks.stored} are stored, there are ${books.stored}`);

  const found = [...failures, ...breaches];
  if (found.length === 0) await rm(platform.logDir, { recursive: true });
  return {
    seed,
    backing: platform.backing
      .describe()
      .map(({ what, version }) => `${what} ${version}`)
      .join(', '),
    notRun: settings.faults.filter((fault) => !faults.includes(fault)).map(({ name }) => name),
    timeline,
    fleet: totalsOf(
      { journals: fleet.map(({ client }) => client.journal), fleet, statistics, startedAt },
      performance.now(),
    ),
    books,
    counters: counted,
    ownBooks,
    deadLetters: evidence.deadLetters,
    samplesCompared: evidence.samplesCompared,
    drainSeconds,
    breaches: found,
    logDir: platform.logDir,
  };
}

function canRun({ on, name }: Fault, platform: Platform, backing: Backing): boolean {
  if (!(on ?? allBackings).includes(backing)) return false;
  return name !== 'postgres-disk-full' || platform.postgresDisk !== undefined;
}

const allBackings: readonly Backing[] = ['native', 'containers', 'cluster'];

async function breakEverything(
  plan: ReadonlyMap<string, readonly Appointment<Fault>[]>,
  platform: Platform,
  { seed, signal, say }: ChaosSettings,
): Promise<TimelineEntry[]> {
  const timeline: TimelineEntry[] = [];
  const startedAt = performance.now();
  const onEntry = (entry: TimelineEntry) => {
    timeline.push(entry);
    const { fault, injectedAtMs, healedAtMs, problem = 'healed' } = entry;
    say(`${seconds(injectedAtMs)} to ${seconds(healedAtMs)}  ${fault}: ${problem}`);
  };
  await Promise.all(
    [...plan.values()].map((appointments, index) =>
      runLane(appointments, {
        platform,
        random: seededRandom(seed * 7_919 + index),
        startedAt,
        signal,
        onEntry,
      }),
    ),
  );
  return timeline.toSorted((a, b) => a.injectedAtMs - b.injectedAtMs);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1).padStart(6)} s`;
}
