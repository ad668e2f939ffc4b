import type { DeviceClient } from './device-client.ts';
import { observationText, telemetryBody, telemetryFrame } from './frame.ts';
import { badFrame, badReading } from './misbehaviour.ts';
import type { ClientJournal } from './journal.ts';
import type { OutgoingRun } from './outbox.ts';
import type { Random } from './random.ts';
import { RangeSet } from '@fleetwire/contracts/range-set';
import { deviceSignals } from './signals.ts';

/** How often a device violates the protocol or sends odd data: shares between 0 and 1. */
export interface Misbehaviour {
  /** Share of frames that are sent a second time. */
  readonly duplicates: number;
  /** Share of readings with a timestamp up to an hour in the past. */
  readonly outOfOrder: number;
  /** Share of frames that contain a bad reading or are followed by a bad frame. */
  readonly malformed: number;
}

/** @param texts readings as JSON, numbered from `seq` on */
export type OnFrame = (journal: ClientJournal, seq: number, texts: readonly string[]) => void;

/** Frames that will be sent twice and have not been sent once. */
const toRepeatMax = 100;
const outOfOrderMaxMs = 60 * 60 * 1_000;

/** A device of the fleet: its measurements and its misbehaviour. */
export class FleetDevice {
  readonly client: DeviceClient;
  /** Deliberately bad: exactly these must be refused. */
  readonly plannedRefusals = new RangeSet();
  readings = 0;
  duplicateReadings = 0;
  badFrames = 0;
  readonly #signals: ReturnType<typeof deviceSignals>;
  readonly #random: Random;
  readonly #misbehaviour: Misbehaviour;
  readonly #isHttp: boolean;
  readonly #onFrame: OnFrame | undefined;
  readonly #toRepeat: OutgoingRun[] = [];

  constructor(
    client: DeviceClient,
    options: {
      seed: number;
      random: Random;
      misbehaviour: Misbehaviour;
      isHttp: boolean;
      onFrame?: OnFrame | undefined;
    },
  ) {
    this.client = client;
    this.#signals = deviceSignals(options.seed);
    this.#random = options.random;
    this.#misbehaviour = options.misbehaviour;
    this.#isHttp = options.isHttp;
    this.#onFrame = options.onFrame;
  }

  /** Measures `count` times, `intervalMs` apart, the last time now, and sends the readings as one frame. */
  emit(count: number, intervalMs: number, now: number): void {
    const { duplicates, malformed } = this.#misbehaviour;
    const isMalformed = this.#random() < malformed;
    const badIndex = isMalformed && this.#random() < 0.5 ? Math.floor(this.#random() * count) : -1;
    const texts = Array.from({ length: count }, (_, index) => {
      const ts = Math.round(now - (count - 1 - index) * intervalMs);
      return index === badIndex
        ? badReading(this.#random, ts)
        : observationText({ ts: this.#observedAt(ts), metrics: this.#signals.next().value });
    });
    const seq = this.client.sendTexts(texts.map((text) => ({ text })));
    this.#onFrame?.(this.client.journal, seq, texts);
    this.readings += count;
    if (badIndex >= 0) this.plannedRefusals.add(seq + badIndex);
    else if (isMalformed && this.client.sendRaw(badFrame(this.#random))) this.badFrames += 1;
    if (badIndex < 0 && this.#random() < duplicates) this.#toRepeat.push({ seq, texts, resent: count });
    this.#repeat();
  }

  #observedAt(ts: number): number {
    return this.#random() < this.#misbehaviour.outOfOrder ? ts - Math.floor(this.#random() * outOfOrderMaxMs) : ts;
  }

  /** Repeats only frames that have been sent, so that the journal stays complete. */
  #repeat(): void {
    const { client } = this;
    for (
      let run = this.#toRepeat[0];
      run !== undefined && client.journal.attempted.has(run.seq + run.texts.length - 1);
      run = this.#toRepeat[0]
    ) {
      this.#toRepeat.shift();
      const frame = this.#isHttp ? telemetryBody(run, client.journal) : telemetryFrame(run, client.journal);
      if (client.sendRaw(frame)) this.duplicateReadings += run.texts.length;
    }
    if (this.#toRepeat.length > toRepeatMax) this.#toRepeat.shift();
  }
}
