import { TelemetryFrame, parseDeviceFrame } from '@fleetwire/contracts/device-protocol';
import { Metrics } from '@fleetwire/contracts/metrics';
import { Compile } from 'typebox/compile';
import { z } from 'zod';
import { type Cost, cost } from './cost.ts';
import { frameText } from './workload.ts';

const [metricName = ''] = Object.keys(Metrics.patternProperties);
const zodMetrics = z.record(
  z.string().regex(new RegExp(metricName)),
  z.union([z.number(), z.boolean(), z.string().max(1_024), z.looseObject({})]),
);
const zodObservation = { ts: z.union([z.number(), z.string()]).optional(), metrics: zodMetrics.optional() };
const zodFrame = z.object({
  type: z.literal('telemetry'),
  deviceId: z.string().optional(),
  epoch: z.string().optional(),
  seq: z.int().min(0).optional(),
  ...zodObservation,
  readings: z.array(z.object(zodObservation)).min(1).max(1_000).optional(),
});

/** The cost of checking one frame with one reading of five metrics: the measurement behind the choice of TypeBox. */
export function compareValidators(): Cost[] {
  const text = frameText(0, 1, 1, Date.now());
  const frame: unknown = JSON.parse(text);
  const typebox = Compile(TelemetryFrame);
  const now = Date.now();
  const check = (isValid: boolean): void => {
    if (!isValid) throw new Error('a validator rejects the reading that it is measured with');
  };
  return [
    cost('TypeBox, compiled', () => check(typebox.Check(frame))),
    cost('zod', () => check(zodFrame.safeParse(frame).success)),
    cost('JSON.parse', () => check(JSON.parse(text) !== null)),
    cost('whole frame parser of contracts', () => check(parseDeviceFrame(text, now).ok)),
  ];
}
