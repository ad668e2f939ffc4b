import { setTimeout as sleep } from 'node:timers/promises';
import { badFrame, badReading } from '../fleet/misbehaviour.ts';
import { type Random, seededRandom } from '../fleet/random.ts';
import { deviceSignals } from '../fleet/signals.ts';
import { ChaosDevice, type DeviceStatistics, newDeviceStatistics } from './device.ts';
import type { CommandJournal } from './command-journal.ts';
import type { DeviceJournal, JournalEntry } from './device-journal.ts';
import { poisonTemperature } from './poison.ts';

export interface ChaosFleetOptions {
  readonly url: string;
  readonly token: (deviceId: string) => Promise<string>;
  readonly devices: number;
  /** Readings per second of the whole fleet. */
  readonly rate: number;
  readonly seed: number;
}

const readingsPerFrame = 5;
/** Shares of frames, of frames, and of readings. */
const misbehaviour = { duplicates: 0.05, malformed: 0.01, outOfOrder: 0.05 };
/** One of this many readings of each device; the devices take turns. */
const poisonEvery = 1_000;
const outOfOrderMaxMs = 60 * 60 * 1_000;
const tickMs = 10;
const settleIntervalMs = 50;
const framesToRepeatMax = 100;

/** Devices that measure at an even rate, and misbehave now and then, until they are stopped. */
export class ChaosFleet {
  readonly statistics: DeviceStatistics;
  readonly #sources: Source[];
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;

  private constructor(sources: Source[], statistics: DeviceStatistics, rate: number) {
    this.#sources = sources;
    this.statistics = statistics;
    this.#running = this.#measure(rate);
  }

  static async start({ url, token, devices, rate, seed }: ChaosFleetOptions): Promise<ChaosFleet> {
    const statistics = newDeviceStatistics();
    const sources: Source[] = [];
    const newestCommand = {};
    for (let index = 0; index < devices; index += 1) {
      const deviceId = `chaos-${index + 1}`;
      const random = seededRandom(seed * 1_000_003 + index);
      const device = new ChaosDevice({
        url,
        deviceId,
        epoch: `boot-${seed}-${index}`,
        token: await token(deviceId),
        readingsPerFrame,
        random: seededRandom(seed * 31 + index),
        newestCommand,
        statistics,
      });
      const poisonInReadings = Math.floor(((index + 0.5) * poisonEvery) / devices);
      sources.push(
        new Source(device, {
          random,
          signalSeed: seed + index,
          intervalMs: (devices / rate) * 1_000,
          poisonInReadings,
        }),
      );
    }
    return new ChaosFleet(sources, statistics, rate);
  }

  get journals(): readonly DeviceJournal[] {
    return this.#sources.map(({ device }) => device.journal);
  }

  get commandJournals(): readonly CommandJournal[] {
    return this.#sources.map(({ device }) => device.commands.journal);
  }

  get failures(): readonly string[] {
    return this.#sources.flatMap(({ device: { failure, journal } }) =>
      failure === undefined ? [] : [`${journal.deviceId} was refused for good: ${failure}`],
    );
  }

  get badFrames(): number {
    return this.#sources.reduce((sum, { badFrames }) => sum + badFrames, 0);
  }

  get repeatedReadings(): number {
    return this.#sources.reduce((sum, { repeatedReadings }) => sum + repeatedReadings, 0);
  }

  /** Stops measuring. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Each device sends a frame that is late. Once all others are stored, no newer reading can hide that an older one replaces the latest state. */
  sendLate(): void {
    const late = Date.now() - outOfOrderMaxMs;
    for (const source of this.#sources) source.emit(late);
  }

  /**
   * Waits until each reading is acknowledged or refused; but not longer than this, and not after the devices, connected and free to send, have
   * been without an answer for `silenceMs`.
   */
  async settle({ timeoutMs, silenceMs }: { timeoutMs: number; silenceMs: number }): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    let silentSince = performance.now();
    for (let last = Infinity; last > 0;) {
      const now = performance.now();
      const open = this.#sources.reduce((sum, { device }) => sum + device.journal.unsettledCount, 0);
      if (open !== last || this.#sources.some(({ device }) => !device.isFree)) silentSince = now;
      if (now > deadline || now > silentSince + silenceMs) return;
      last = open;
      await sleep(settleIntervalMs);
    }
  }

  async close(): Promise<void> {
    await this.stop();
    await Promise.all(this.#sources.map(({ device }) => device.stop()));
  }

  /** One schedule for all: a busy machine sends frames late, not fewer of them. */
  async #measure(rate: number): Promise<void> {
    const { signal } = this.#stopping;
    const startedAt = performance.now();
    for (let frame = 0; !signal.aborted;) {
      const due = ((performance.now() - startedAt) / 1_000) * (rate / readingsPerFrame);
      for (; frame < due; frame += 1) this.#sources[frame % this.#sources.length]!.emit(Date.now());
      await sleep(tickMs, undefined, { signal }).catch(() => {});
    }
  }
}

/** The measurements and the misbehaviour of one device. */
class Source {
  readonly device: ChaosDevice;
  badFrames = 0;
  repeatedReadings = 0;
  readonly #random: Random;
  readonly #signals: ReturnType<typeof deviceSignals>;
  readonly #intervalMs: number;
  readonly #toRepeat: (readonly JournalEntry[])[] = [];
  #poisonInReadings: number;

  constructor(
    device: ChaosDevice,
    options: { random: Random; signalSeed: number; intervalMs: number; poisonInReadings: number },
  ) {
    this.device = device;
    this.#random = options.random;
    this.#signals = deviceSignals(options.signalSeed);
    this.#intervalMs = options.intervalMs;
    this.#poisonInReadings = options.poisonInReadings;
  }

  emit(now: number): void {
    const isMalformed = this.#random() < misbehaviour.malformed;
    const badIndex = isMalformed && this.#random() < 0.5 ? Math.floor(this.#random() * readingsPerFrame) : -1;
    const readings = Array.from({ length: readingsPerFrame }, (_, index) => {
      const ts = Math.round(now - (readingsPerFrame - 1 - index) * this.#intervalMs);
      if (index === badIndex) return { text: badReading(this.#random, ts), kind: 'invalid' as const };
      const isPoison = this.#isPoisonNext();
      return { text: this.#reading(ts, isPoison), kind: isPoison ? ('poison' as const) : ('storable' as const) };
    });
    const entries = this.device.send(readings);
    if (isMalformed && badIndex < 0 && this.device.sendRaw(badFrame(this.#random))) this.badFrames += 1;
    // Reconciliation counts two arrivals of one dead letter in the same millisecond once; after a stall, both frames may arrive in one.
    const isPoison = entries.some(({ kind }) => kind === 'poison');
    if (badIndex < 0 && this.#random() < misbehaviour.duplicates && !isPoison) this.#toRepeat.push(entries);
    this.#repeat();
  }

  #isPoisonNext(): boolean {
    this.#poisonInReadings -= 1;
    if (this.#poisonInReadings > 0) return false;
    this.#poisonInReadings = poisonEvery;
    return true;
  }

  #reading(ts: number, isPoison: boolean): string {
    const isLate = this.#random() < misbehaviour.outOfOrder;
    const observedAt = isLate ? ts - Math.floor(this.#random() * outOfOrderMaxMs) : ts;
    const signals = this.#signals.next().value;
    const metrics = isPoison ? { ...signals, temperature: poisonTemperature } : signals;
    return JSON.stringify({ ts: observedAt, metrics });
  }

  #repeat(): void {
    for (let entries = this.#toRepeat[0]; entries !== undefined; entries = this.#toRepeat[0]) {
      if (!this.device.repeat(entries)) break;
      this.repeatedReadings += entries.length;
      this.#toRepeat.shift();
    }
    if (this.#toRepeat.length > framesToRepeatMax) this.#toRepeat.shift();
  }
}
