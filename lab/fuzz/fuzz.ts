import { setTimeout as sleep } from 'node:timers/promises';
import { Budget, type ExploreOptions, type Failure, explore } from './explore.ts';
import { apiInputs, telemetryInputs } from './http-inputs.ts';
import { httpSubject } from './http-subject.ts';
import { type Latency, latencyOf } from './latency.ts';
import { Neighbour } from './neighbour.ts';
import { readApiDescription } from './openapi.ts';
import { type FuzzedPlatform, type Servers, startFuzzedPlatform } from './platform.ts';
import { FreshNumbers, Promises } from './promises.ts';
import { rawSubject } from './raw-subject.ts';
import { socketSubject } from './socket-subject.ts';
import { type Audit, auditPromises } from './stored.ts';
import type { Subject } from './subject.ts';
import { Tally } from './tally.ts';

export const subjectNames = ['api', 'telemetry', 'devices', 'gateways', 'raw'] as const;
type SubjectName = (typeof subjectNames)[number];

export interface FuzzSettings {
  readonly seed: number;
  /** Sends only this subject's inputs. */
  readonly only?: string | undefined;
  /** Repeats one input of `only`. */
  readonly path?: string | undefined;
  readonly inputsMax: number;
  readonly durationMs: number;
  /** An answer that is later than this counts as none. */
  readonly hangMs: number;
  /** How long the neighbour is observed before the first input. */
  readonly quietMs: number;
  readonly servers: Servers;
  readonly logDir: string;
  /** Ends the inputs early. */
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface FuzzReport {
  readonly seed: number;
  readonly inputs: number;
  readonly seconds: number;
  readonly answers: Tally['groups'];
  readonly neighbour: { readonly quiet: Latency | undefined; readonly fuzzed: Latency | undefined };
  readonly audit: Audit;
  /** Empty after a good run. */
  readonly failures: readonly (Pick<Failure, 'what'> & Partial<Failure>)[];
}

const neighbourIntervalMs = 50;
const settleTimeoutMs = 30_000;
/** Longest wait for the worker to store what was acknowledged. */
const storeTimeoutMs = 60_000;

/** Sends inputs to a platform of its own, then compares what was acknowledged with what is stored. */
export async function runFuzz(settings: FuzzSettings): Promise<FuzzReport> {
  const { seed, servers, logDir, signal, say, quietMs } = settings;
  const failures: FuzzReport['failures'][number][] = [];
  const fail = (what: string): void => void failures.push({ what });
  await using platform = await startFuzzedPlatform(servers, { logDir, onCrash: fail });
  say(`platform is ready; logs are in ${logDir}`);

  const promises = new Promises();
  const epoch = 'quiet';
  const deviceId = 'neighbour';
  await using neighbour = new Neighbour({
    url: platform.webSocketUrl,
    token: await platform.deviceToken(deviceId),
    epoch,
    intervalMs: neighbourIntervalMs,
  });
  await sleep(quietMs, undefined, { signal }).catch(() => {});
  const quiet = latencyOf((await neighbour.report()).latencies);

  const tally = new Tally();
  const budget = new Budget(settings);
  const startedAt = performance.now();
  failures.push(...(await sendInputs(platform, settings, { tally, promises, budget })));
  const seconds = (performance.now() - startedAt) / 1_000;
  say(`${budget.sent} inputs in ${seconds.toFixed(0)} s; comparing what was acknowledged with the tables`);

  const fuzzedReadings = (await neighbour.report()).latencies;
  const { upTo, open, refused, latencies } = await neighbour.settle(settleTimeoutMs);
  const fuzzed = latencyOf([...fuzzedReadings, ...latencies]);
  if (open > 0) fail(`the quiet neighbour: ${open} readings had no answer ${settleTimeoutMs} ms after the last input`);
  if (refused.length > 0) fail(`the quiet neighbour: valid readings were refused: ${refused.join(', ')}`);
  if (fuzzed !== undefined && fuzzed.max > settings.hangMs)
    fail(`the quiet neighbour: an ack took ${Math.round(fuzzed.max)} ms`);
  for (let seq = 0; seq <= upTo; seq += 1) if (!refused.includes(seq)) promises.add(deviceId, epoch, seq);

  const audit = await auditWhenStored(platform.databaseUrl, promises);
  for (const lost of audit.lost) fail(`acknowledged, but not stored: ${lost}`);
  for (const repeated of audit.repeated) fail(`stored more than once: ${repeated}`);
  return { seed, inputs: budget.sent, seconds, answers: tally.groups, neighbour: { quiet, fuzzed }, audit, failures };
}

interface Run {
  readonly tally: Tally;
  readonly promises: Promises;
  readonly budget: Budget;
}

async function sendInputs(
  platform: FuzzedPlatform,
  { seed, only, path, say, hangMs }: FuzzSettings,
  run: Run,
): Promise<Failure[]> {
  const lanes = (await openLanes(platform, run, hangMs)).filter(({ name }) => only === undefined || only === name);
  // One input is repeated on one lane, with the seed that the failure was reported with.
  const chosen = path === undefined ? lanes : lanes.slice(0, 1);
  const known = new Set<string>();
  const progress = setInterval(() => say(`${run.budget.sent} inputs`), 10_000);
  try {
    const found = await Promise.all(
      chosen.map(({ lane, start }) =>
        start({ seed: path === undefined ? seedOf(seed, lane) : seed, path, budget: run.budget, known }),
      ),
    );
    return found.flat();
  } finally {
    clearInterval(progress);
  }
}

/** Inputs of one lane follow one another; lanes run side by side. */
const lanesOf: Readonly<Record<SubjectName, number>> = { api: 4, telemetry: 2, devices: 1, gateways: 2, raw: 2 };

interface Lane {
  readonly name: SubjectName;
  readonly lane: number;
  readonly start: (options: ExploreOptions) => Promise<Failure[]>;
}

async function openLanes(platform: FuzzedPlatform, { tally, promises }: Run, hangMs: number): Promise<Lane[]> {
  const api = await readApiDescription();
  const { urls, tokens, webSocketUrl } = platform;
  const open = async (name: SubjectName, lane: number): Promise<Lane['start']> => {
    const numbers = new FreshNumbers(lane * 10 ** 12);
    switch (name) {
      case 'api':
        return starting(httpSubject({ name, inputs: apiInputs(api), urls, tokens, tally, promises, numbers, hangMs }));
      case 'telemetry':
        return starting(
          httpSubject({ name, inputs: telemetryInputs(api), urls, tokens, tally, promises, numbers, hangMs }),
        );
      case 'raw':
        return starting(rawSubject({ urls, token: tokens.admin!, tally, hangMs }));
      case 'devices':
      case 'gateways': {
        const deviceId = `fuzz-${name}-${lane}`;
        const token = await (name === 'devices' ? platform.deviceToken(deviceId) : platform.gatewayToken(deviceId));
        return starting(socketSubject({ name, url: webSocketUrl, deviceId, token, tally, promises, numbers, hangMs }));
      }
    }
  };
  const wanted = subjectNames.flatMap((name) => Array.from({ length: lanesOf[name] }, () => name));
  return Promise.all(wanted.map(async (name, lane) => ({ name, lane, start: await open(name, lane) })));
}

function starting<Input>(subject: Subject<Input>): Lane['start'] {
  return async (options) => {
    try {
      return await explore(subject, options);
    } finally {
      await subject.close();
    }
  };
}

/** Seeds of lanes are far apart: each lane counts upwards from its own. */
function seedOf(seed: number, lane: number): number {
  return Math.imul(seed, 1_000_003) + lane * 10_000_019;
}

async function auditWhenStored(databaseUrl: string, promises: Promises): Promise<Audit> {
  const deadline = performance.now() + storeTimeoutMs;
  for (;;) {
    const audit = await auditPromises(databaseUrl, promises);
    if (audit.lostReadings === 0 || performance.now() > deadline) return audit;
    await sleep(500);
  }
}
