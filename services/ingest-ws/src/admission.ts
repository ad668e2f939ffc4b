import { type Claims, mayPublishAs } from '@fleetwire/contracts/access';
import type { EnvelopeRun } from '@fleetwire/contracts/envelope';
import type { Reading } from '@fleetwire/contracts/reading';
import type { Telemetry } from '@fleetwire/contracts/telemetry-input';
import { type ValidationIssue, refused } from '@fleetwire/contracts/validation-issue';
import type { AutoSequence } from './auto-sequence.ts';
import type { DeviceRegistry } from './device-registry.ts';
import type { IngestMetrics } from './metrics.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';

/** Who sends telemetry, over WebSocket or HTTP. */
export interface Sender {
  readonly claims: Claims;
  /** The epoch of readings that carry a seq and name none; without it they are rejected. */
  readonly epoch?: string;
}

export interface AdmissionOptions {
  readonly autoSequence: AutoSequence;
  readonly outcomes: ReadingOutcomes;
  readonly metrics: IngestMetrics;
  /** Where it is known which devices may publish. */
  readonly registry?: Pick<DeviceRegistry, 'issueOf'> | undefined;
}

export type Admitted =
  | {
      readonly ok: true;
      /** The valid readings with their numbers; none where each was rejected for an issue of its own. */
      readonly run: EnvelopeRun;
      /** Numbers of the first and the last reading sent, the rejected ones among them. */
      readonly first: number;
      readonly last: number;
    }
  /** All readings are rejected: together for `issue`; without it, each for an issue of its own, and there is no seq. */
  | { readonly ok: false; readonly issue?: ValidationIssue };

/** Decides whose readings they are, whether the sender may publish them, and under which numbers. Rejected readings are counted here. */
export class Admission {
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** @param receivedAt epoch milliseconds */
  admit(telemetry: Telemetry, sender: Sender, receivedAt: number): Admitted {
    const { observations, issues } = telemetry;
    const count = observations.length;
    const { sub } = sender.claims;
    const deviceId = telemetry.deviceId ?? sub;
    if (!mayPublishAs(sender.claims, deviceId)) {
      const text = `is "${deviceId}"; this token publishes as "${sub}" only`;
      return this.reject(refused('forbidden', 'deviceId', text).issue, sender, receivedAt, count);
    }
    const unregistered = this.#options.registry?.issueOf(deviceId);
    if (unregistered !== undefined) return this.reject(unregistered, sender, receivedAt, count);
    const epoch = telemetry.epoch ?? sender.epoch;
    if (telemetry.seq !== undefined && epoch === undefined) {
      const text = 'is missing; a seq has its meaning within an epoch';
      return this.reject(refused('missing-field', 'epoch', text).issue, sender, receivedAt, count);
    }
    if (issues.length > 0) {
      this.#options.outcomes.reject(deviceId, receivedAt, issues.length);
      for (const { issue } of issues) this.#options.metrics.rejections.inc({ code: issue.code });
      // Numbers that no reading is stored under would look like lost readings.
      if (issues.length === count && telemetry.seq === undefined) return { ok: false };
    }
    return telemetry.seq === undefined || epoch === undefined
      ? numbered(observations, deviceId, this.#options.autoSequence.assign(deviceId, count), receivedAt)
      : numbered(observations, deviceId, { epoch, seq: telemetry.seq }, receivedAt);
  }

  /** Rejects readings that have one issue in common. They count for the sender, not for the device that they claim to be from. */
  reject(issue: ValidationIssue, { claims }: Sender, receivedAt: number, readingCount: number): Admitted {
    if (readingCount > 0) this.#options.outcomes.reject(claims.sub, receivedAt, readingCount);
    this.#options.metrics.rejections.inc({ code: issue.code });
    return { ok: false, issue };
  }
}

function numbered(
  observations: Telemetry['observations'],
  deviceId: string,
  { epoch, seq }: { readonly epoch: string; readonly seq: number },
  receivedAt: number,
): Admitted {
  const readings: Reading[] = [];
  for (let index = 0; index < observations.length; index += 1) {
    const observation = observations[index];
    if (observation !== undefined)
      readings.push({ seq: seq + index, ts: observation.ts, metrics: observation.metrics });
  }
  return { ok: true, run: { deviceId, epoch, receivedAt, readings }, first: seq, last: seq + observations.length - 1 };
}
