import { rm } from 'node:fs/promises';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { runFleet } from '../fleet/fleet.ts';
import type { FleetDevice } from '../fleet/fleet-device.ts';
import { seededRandom } from '../fleet/random.ts';
import { type Totals, totalsOf } from '../fleet/report.ts';
import { newLinkStatistics } from '../fleet/uplink.ts';
import { type Accounting, type Breach, audit } from './audit.ts';
import { type Counters, CounterWatch } from './counters.ts';
import { untilDrained } from './drain.ts';
import { gatherEvidence } from './evidence.ts';
import type { Backing, Fault } from './fault.ts';
import { type ChaosPlatform, startChaosPlatform } from './platform.ts';
import { type Reconciliation, readReconciliation } from './reconciliation.ts';
import { Samples } from './samples.ts';
import { type ScheduledFault, schedule } from './schedule.ts';
import { type TimelineEntry, injectFaults } from './timeline.ts';

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
  readonly accounting: Accounting;
  readonly counters: Counters;
  /** The platform's own report on the same readings; undefined where it could not be read. */
  readonly reconciliation: Reconciliation | undefined;
  readonly deadLetters: readonly { readonly reason: string; readonly error: string; readonly count: number }[];
  readonly samplesCompared: number;
  /** From the last fault healed until every queue is empty. */
  readonly drainSeconds: number;
  readonly breaches: readonly Breach[];
  /** Kept if there is a breach. */
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

/** Starts everything, injects faults by the schedule, heals them, waits until all queues are empty, and audits. */
export async function runChaos(settings: ChaosSettings): Promise<ChaosReport> {
  const { minutes, seed, backing, env, say, devices, rate } = settings;
  const failures: Breach[] = [];
  const fail = (rule: string): undefined => {
    failures.push({ rule, readings: 0, identities: [] });
    return undefined;
  };
  const recordFailure = <T>(what: Promise<T>) => what.catch((error: Error) => fail(error.message));
  const wantsSmallDisk = backing === 'native' && settings.faults.some(({ name }) => name === 'postgres-disk-full');
  await using platform = await startChaosPlatform({ backing, wantsSmallDisk, env, say, onCrash: fail });
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
    credentials: async (deviceId) => ({
      token: await platform.platform.keys.token(deviceId, 'device'),
      isGateway: false,
    }),
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
  await eventually(
    () => {
      if (statistics.connected < devices) throw new Error(`${statistics.connected} of ${devices} devices connected`);
    },
    { timeoutMs: connectTimeoutMs },
  );
  say(`${devices} devices send ${rate} readings/s; ${faults.length} faults of ${plan.size} components, seed ${seed}`);

  const counters = new CounterWatch([...platform.services['ingest-ws'], ...platform.services['persistence-worker']]);
  const timeline = await injectAll(plan, platform, settings);
  for (const { fault, problem } of timeline) if (problem !== undefined) fail(`${fault}: ${problem}`);

  const healedAt = performance.now();
  say('all faults are healed; waiting until every queue is empty');
  await recordFailure(platform.platform.untilReady(readyTimeoutMs));
  sending.abort();
  await recordFailure(running);
  await recordFailure(untilDrained(platform, drainTimeoutMs));
  const drainSeconds = (performance.now() - healedAt) / 1_000;
  const counted = await counters.stop();
  const reconciliation = await recordFailure(readReconciliation(platform, startedOn));

  const evidence = await gatherEvidence(platform.backing.databaseUrl, samples);
  const { accounting, breaches } = audit(
    fleet.map(({ client, plannedRefusals }) => ({ journal: client.journal, plannedRefusals })),
    evidence,
  );
  for (const { client } of fleet)
    if (client.failure !== undefined)
      fail(`${client.journal.deviceId} was refused for good: ${client.failure.message}`);
  if ((counted['worker stored'] ?? 0) > accounting.stored)
    fail(`the workers counted ${counted['worker stored']} stored readings, the database has ${accounting.stored}`);

  if (reconciliation?.state === 'unbalanced')
    fail(
      `the reconciliation report is unbalanced: ${reconciliation.missing} readings missing, ${reconciliation.surplus} surplus`,
    );
  if (reconciliation !== undefined && reconciliation.stored !== accounting.stored)
    fail(
      `the reconciliation report counts ${reconciliation.stored} stored readings, the database has ${accounting.stored}`,
    );

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
    accounting,
    counters: counted,
    reconciliation,
    deadLetters: evidence.deadLetters,
    samplesCompared: evidence.samplesCompared,
    drainSeconds,
    breaches: found,
    logDir: platform.logDir,
  };
}

function canRun({ on, name }: Fault, platform: ChaosPlatform, backing: Backing): boolean {
  if (!(on ?? allBackings).includes(backing)) return false;
  return name !== 'postgres-disk-full' || platform.postgresDisk !== undefined;
}

const allBackings: readonly Backing[] = ['native', 'containers', 'cluster'];

async function injectAll(
  plan: ReadonlyMap<string, readonly ScheduledFault<Fault>[]>,
  platform: ChaosPlatform,
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
    [...plan.values()].map((scheduled, index) =>
      injectFaults(scheduled, {
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
