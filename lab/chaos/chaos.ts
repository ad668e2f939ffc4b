import { rm } from 'node:fs/promises';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { seededRandom } from '../fleet/random.ts';
import { type ComparedAnswers, compareAnswers } from './answers.ts';
import { type Accounting, type Breach, audit } from './audit.ts';
import { ChaosFleet } from './chaos-fleet.ts';
import { type Counters, CounterWatch } from './counters.ts';
import { untilDrained } from './drain.ts';
import { gatherEvidence } from './evidence.ts';
import type { Backing, Fault } from './fault.ts';
import { type ChaosPlatform, startChaosPlatform } from './platform.ts';
import { refusePoison } from './poison.ts';
import { type Reconciliation, readReconciliation } from './reconciliation.ts';
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
  readonly fleet: FleetFigures;
  readonly accounting: Accounting;
  readonly counters: Counters;
  /** The platform's own report on the same readings; undefined where it could not be read. */
  readonly reconciliation: Reconciliation | undefined;
  readonly deadLetters: readonly { readonly reason: string; readonly error: string; readonly count: number }[];
  /** Readings whose stored content was compared with what was sent. */
  readonly contentsCompared: number;
  /** History, gaps and latest state as query-api answers them; undefined where it did not answer. */
  readonly answers: Omit<ComparedAnswers, 'breaches'> | undefined;
  /** From the last fault healed until every queue is empty. */
  readonly drainSeconds: number;
  readonly breaches: readonly Breach[];
  /** Kept if there is a breach. */
  readonly logDir: string;
}

/** What the devices saw. */
interface FleetFigures {
  readonly frames: number;
  readonly resent: number;
  /** Sent twice on purpose. */
  readonly repeated: number;
  readonly badFrames: number;
  readonly connects: number;
  readonly nacks: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly disconnects: Readonly<Record<string, number>>;
  readonly ackMsP50: number;
  readonly ackMsP99: number;
  readonly ackMsMax: number;
}

const connectTimeoutMs = 30_000;
const readyTimeoutMs = 60_000;
const settleTimeoutMs = 60_000;
const drainTimeoutMs = 120_000;

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

  await refusePoison(platform.backing.databaseUrl);
  const startedOn = new Date();
  const fleet = await ChaosFleet.start({
    url: platform.webSocketUrl,
    token: (deviceId) => platform.platform.keys.token(deviceId, 'device'),
    devices,
    rate,
    seed,
  });
  await using _closed = { [Symbol.asyncDispose]: () => fleet.close() };
  await eventually(
    () => {
      const { connected } = fleet.statistics;
      if (connected < devices) throw new Error(`${connected} of ${devices} devices connected`);
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
  await fleet.settle(settleTimeoutMs);
  await recordFailure(untilDrained(platform, drainTimeoutMs));
  const drainSeconds = (performance.now() - healedAt) / 1_000;
  const counted = await counters.stop();
  const reconciliation = await recordFailure(readReconciliation(platform, startedOn));

  const answers = await recordFailure(compareAnswers(platform, fleet.journals));
  await fleet.close();
  const evidence = await gatherEvidence(platform.backing.databaseUrl, fleet.journals);
  const { accounting, breaches } = audit(fleet.journals, evidence);
  for (const failure of fleet.failures) fail(failure);
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

  const found = [...failures, ...breaches, ...(answers?.breaches ?? [])];
  if (found.length === 0) await rm(platform.logDir, { recursive: true });
  return {
    seed,
    backing: platform.backing
      .describe()
      .map(({ what, version }) => `${what} ${version}`)
      .join(', '),
    notRun: settings.faults.filter((fault) => !faults.includes(fault)).map(({ name }) => name),
    timeline,
    fleet: figuresOf(fleet),
    accounting,
    counters: counted,
    reconciliation,
    deadLetters: evidence.deadLetters,
    contentsCompared: evidence.contentsCompared,
    answers: answers && { devices: answers.devices, readings: answers.readings },
    drainSeconds,
    breaches: found,
    logDir: platform.logDir,
  };
}

function figuresOf({ statistics, repeatedReadings, badFrames }: ChaosFleet): FleetFigures {
  const { frames, resent, connects, nacks, errors, disconnects, ackMicros } = statistics;
  return {
    frames,
    resent,
    repeated: repeatedReadings,
    badFrames,
    connects,
    nacks: Object.fromEntries(nacks),
    errors: Object.fromEntries(errors),
    disconnects: Object.fromEntries(disconnects),
    ackMsP50: ackMicros.percentile(50) / 1_000,
    ackMsP99: ackMicros.percentile(99) / 1_000,
    ackMsMax: ackMicros.max / 1_000,
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
