import type { Observation } from '@fleetwire/contracts/reading';
import type { OutgoingRun } from './outbox.ts';

/** What an observation costs around its text in a frame, generously: the frame's own fields, once. */
export const frameOverheadBytesMax = 512;

export interface Address {
  readonly deviceId: string;
  readonly epoch: string;
}

export function observationText({ ts, metrics }: Observation): string {
  return JSON.stringify({ ts, metrics });
}

/** A telemetry frame around texts that are JSON already. @param address left out where the session's own is meant */
export function telemetryFrame({ seq, texts }: OutgoingRun, address?: Address): string {
  return `{"type":"telemetry",${telemetryFields(seq, texts, address)}`;
}

/** The body of an HTTP request: the same without a type. */
export function telemetryBody({ seq, texts }: OutgoingRun, address: Address): string {
  return `{${telemetryFields(seq, texts, address)}`;
}

function telemetryFields(seq: number, texts: readonly string[], address: Address | undefined): string {
  const from =
    address === undefined
      ? ''
      : `"deviceId":${JSON.stringify(address.deviceId)},"epoch":${JSON.stringify(address.epoch)},`;
  const [only] = texts;
  return texts.length === 1 && only !== undefined
    ? `${from}"seq":${seq},${only.slice(1)}`
    : `${from}"seq":${seq},"readings":[${texts.join(',')}]}`;
}
