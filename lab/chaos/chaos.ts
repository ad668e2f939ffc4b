import { rm } from 'node:fs/promises';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { seededRandom } from '../fleet/random.ts';
import { compareAnswers } from './answers.ts';
import { type Breach, audit } from './audit.ts';
import { auditCommands } from './audit-commands.ts';
import { ChaosFleet } from './chaos-fleet.ts';
import { CommandOperator } from './command-operator.ts';
import { gatherCommands } from './commands.ts';
import { CounterWatch } from './counters.ts';
import { replayTheRest } from './dead-letters.ts';
import { untilDrained } from './drain.ts';
import { gatherEvidence } from './evidence.ts';
import type { Backing, Fault } from './fault.ts';
import { type ChaosPlatform, startChaosPlatform } from './platform.ts';
import { refusePoison } from './poison.ts';
import { untilPresenceIs } from './presence.ts';
import { longestRecovery } from './recovery.ts';
import { shortenRetries } from './refusal-faults.ts';
import { prepareRefusals } from './refusals.ts';
import { type Reconciliation, readReconciliation } from './reconciliation.ts';
import { type ScheduledFault, schedule } from './schedule.ts';
import { breachMark, type ChaosReport, type FleetFigures } from './report.ts';
import { type TimelineEntry, injectFaults } from './timeline.ts';
import { auditWatched, untilWatched } from './watched.ts';
import { Watcher } from './watcher.ts';

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
  /** Ends the run without an audit, once everything that was started is stopped. */
  readonly abandoned?: AbortSignal;
  readonly say: (line: string) => void;
}

const connectTimeoutMs = 30_000;
const readyTimeoutMs = 60_000;
const settleTimeoutMs = 120_000;
/** Many times the deadline of a confirm, after which a reading is nacked. */
const silenceMs = 15_000;
const drainTimeoutMs = 120_000;
const replayTimeoutMs = 150_000;
/** A lease, the time for reconnecting, and as much again. */
const presenceTimeoutMs = 45_000;
const watchedTimeoutMs = 90_000;
/** The longest time until a command expires, its timeout, and as much again. */
const commandsTimeoutMs = 70_000;
/** Commands per second, for each device; those to all devices are not counted. */
const commandsPerDevice = 0.2;
const operators = Array.from({ length: 8 }, (_, index) => `operator-${index + 1}`);
const watcherCount = 2;

/**
 * Starts everything, injects faults by the schedule, heals them, waits until all queues are empty, and audits.
 * @throws where it is abandoned
 */
export async function runChaos(settings: ChaosSettings): Promise<ChaosReport> {
  const { backing, env, say, abandoned } = settings;
  const failures: Breach[] = [];
  const fail = (rule: string): undefined => {
    failures.push({ rule, readings: 0, identities: [] });
    // The report repeats it at the end, which may be minutes later.
    say(`${breachMark}${rule}`);
    return undefined;
  };
  const wantsSmallDisk = backing === 'native' && settings.faults.some(({ name }) => name === 'postgres-disk-full');
  const startedAt = performance.now();
  await using platform = await startChaosPlatform({ backing, wantsSmallDisk, env, say, onCrash: fail });
  const isAbandoned = new Promise<never>((_, reject) => {
    const end = () => reject(new Error('the run was abandoned; there is no audit'));
    if (abandoned?.aborted === true) end();
    abandoned?.addEventListener('abort', end);
  });
  return await Promise.race([isAbandoned, runOn(platform, settings, { failures, fail, startedAt })]);
}

async function runOn(
  platform: ChaosPlatform,
  settings: ChaosSettings,
  { failures, fail, startedAt }: { failures: readonly Breach[]; fail: (rule: string) => undefined; startedAt: number },
): Promise<ChaosReport> {
  const { minutes, seed, backing, say, devices, rate } = settings;
  const recordFailure = <T>(what: Promise<T>) => what.catch((error: Error) => fail(error.message));
  const phases: Record<string, number> = {};
  let phaseStartedAt = startedAt;
  const endPhase = (name: string) => {
    phases[name] = (performance.now() - phaseStartedAt) / 1_000;
    phaseStartedAt = performance.now();
  };
  const faults = settings.faults.filter((fault) => canRun(fault, platform, backing));
  const plan = schedule(faults, { durationMs: minutes * 60_000, seed });

  await refusePoison(platform.backing.databaseUrl);
  await prepareRefusals(platform.backing.databaseUrl);
  await shortenRetries(platform);
  const startedOn = new Date();
  const watchers = await startWatchers(platform, startedOn);
  await using _watchersStopped = { [Symbol.asyncDispose]: async () => watchers.forEach((watcher) => watcher.stop()) };
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

  const deviceIds = fleet.journals.map(({ deviceId }) => deviceId);
  // A container that is started again has another port.
  const databaseUrl = () => platform.backing.databaseUrl;
  const untilDevicesAre = (isOnline: boolean, timeoutMs: number) =>
    recordFailure(untilPresenceIs(isOnline, { databaseUrl: databaseUrl(), deviceIds, timeoutMs }));
  // Commands to devices that are not known yet would be refused.
  await untilDevicesAre(true, presenceTimeoutMs);
  const operator = new CommandOperator({
    baseUrl: platform.services['query-api'][0]!.url,
    tokens: await Promise.all(operators.map((name) => platform.platform.keys.token(name, 'operator'))),
    deviceIds,
    rate: devices * commandsPerDevice,
    random: seededRandom(seed),
  });
  await using _silent = { [Symbol.asyncDispose]: () => operator.stop() };
  endPhase('start');
  const counters = new CounterWatch([...platform.services['ingest-ws'], ...platform.services['persistence-worker']]);
  const injectionStartedAt = performance.now();
  const timeline = await injectAll(plan, platform, settings, injectionStartedAt);
  for (const { fault, problem } of timeline) if (problem !== undefined) fail(`${fault}: ${problem}`);

  endPhase('faults');
  const healedAt = performance.now();
  say('all faults are healed; waiting until every queue is empty');
  const [isReady] = await Promise.all([
    recordFailure(platform.platform.untilReady(readyTimeoutMs).then(() => true)),
    operator.stop(),
  ]);
  // A platform that is not ready will not drain either: what can still be said is said soon.
  const patience = isReady === true ? 1 : 0.1;
  const settle = async () => {
    await fleet.settle({ timeoutMs: patience * settleTimeoutMs, silenceMs });
    await recordFailure(untilDrained(platform, patience * drainTimeoutMs));
  };
  await fleet.stop();
  await settle();
  const drainSeconds = (performance.now() - healedAt) / 1_000;
  endPhase('drain');
  fleet.sendLate();
  await settle();
  const replayed = await recordFailure(replayTheRest(platform, patience * replayTimeoutMs));
  for (const problem of replayed?.problems ?? []) fail(problem);
  // A replay is done when its readings are stored, which is before their messages are acknowledged.
  await recordFailure(untilDrained(platform, patience * drainTimeoutMs));
  endPhase('replay');
  const counted = await counters.stop();
  const sinceInjection = (times: readonly number[]) => times.map((at) => at - injectionStartedAt);
  const reconciliation = await recordFailure(readReconciliation(platform, startedOn));

  const answers = await recordFailure(compareAnswers(platform, fleet.journals));
  const timeoutMs = patience * presenceTimeoutMs;
  await untilDevicesAre(true, timeoutMs);
  const gathered = await recordFailure(
    gatherCommands(operator, { databaseUrl: databaseUrl(), timeoutMs: patience * commandsTimeoutMs }),
  );
  const commands = gathered && auditCommands({ ...gathered, journals: fleet.commandJournals });
  await fleet.close();
  await untilDevicesAre(false, timeoutMs);
  const evidence = await gatherEvidence(databaseUrl(), fleet.journals);
  const { accounting, breaches } = audit(fleet.journals, evidence);
  await untilWatched(watchers, evidence, patience * watchedTimeoutMs);
  breaches.push(...auditWatched(watchers, evidence, fleet.journals));
  for (const { failure } of watchers) if (failure !== undefined) fail(`a subscriber was refused for good: ${failure}`);
  for (const failure of fleet.failures) fail(failure);
  if ((counted['worker stored'] ?? 0) > accounting.stored)
    fail(`the workers counted ${counted['worker stored']} stored readings, the database has ${accounting.stored}`);

  if (reconciliation !== undefined && isUnbalanced(reconciliation))
    fail(
      `the reconciliation report is unbalanced: ${reconciliation.missing} readings missing, ${reconciliation.surplus} surplus, ${reconciliation.inFlight} in flight`,
    );
  if (reconciliation !== undefined && reconciliation.stored !== accounting.stored)
    fail(
      `the reconciliation report counts ${reconciliation.stored} stored readings, the database has ${accounting.stored}`,
    );

  endPhase('audit');
  const found = [...failures, ...breaches, ...(commands?.breaches ?? []), ...(answers?.breaches ?? [])];
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
    replays: replayed?.replays,
    contentsCompared: evidence.contentsCompared,
    answers: answers && { devices: answers.devices, readings: answers.readings },
    watched: watchers.map(({ received, subscriptions }) => ({
      readings: [...received.values()].reduce((sum, numbers) => sum + numbers.size, 0),
      subscriptions,
    })),
    commands: commands && { ...commands.figures, ...operator.repeated },
    drainSeconds,
    longestRecovery: longestRecovery(
      timeline,
      sinceInjection(fleet.statistics.ackedAt),
      sinceInjection(counters.storedAt),
    ),
    phases,
    breaches: found,
    logDir: platform.logDir,
  };
}

/** Subscribers of all devices, on any instance; before there are any. */
async function startWatchers({ webSocketUrl, platform }: ChaosPlatform, startedOn: Date): Promise<readonly Watcher[]> {
  const names = Array.from({ length: watcherCount }, (_, index) => `watcher-${index + 1}`);
  // Readings are late by an hour.
  const since = new Date(startedOn.getTime() - 2 * 60 * 60 * 1_000);
  return Promise.all(
    names.map(
      async (name) =>
        new Watcher({
          url: webSocketUrl,
          token: await platform.keys.token(name, 'analyst'),
          pattern: 'chaos-*',
          since,
        }),
    ),
  );
}

function isUnbalanced({ state, isComplete, missing, surplus, inFlight }: Reconciliation): boolean {
  return state === 'unbalanced' || (isComplete && missing + surplus + inFlight > 0);
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
  { minutes, seed, signal, say }: ChaosSettings,
  startedAt: number,
): Promise<TimelineEntry[]> {
  const timeline: TimelineEntry[] = [];
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
        durationMs: minutes * 60_000,
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
