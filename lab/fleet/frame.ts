import type { Observation } from '@fleetwire/contracts/reading';
import type { OutgoingRun } from './outbox.ts';

/** Upper bound for the frame's own fields around the texts of its observations. */
export const frameOverheadBytesMax = 512;

export interface Address {
  readonly deviceId: string;
  readonly epoch: string;
}

export function observationText({ ts, metrics }: Observation): string {
  return JSON.stringify({ ts, metrics });
}

/** A telemetry frame of texts that are JSON already. @param address omitted for the session's own device and epoch */
export function telemetryFrame({ seq, texts }: OutgoingRun, address?: Address): string {
  return `{"type":"telemetry",${telemetryFields(seq, texts, address)}`;
}

/** The body of an HTTP request: a frame without a type. */
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
