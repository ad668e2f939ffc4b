import { costConditions } from '../bench/cost-figures.ts';
import type { Costs, Drive, PathCosts } from './costs.ts';
import { BenchMachine, type Calibration, calibrate } from './simulation/bench-machine.ts';

/** Cores of the machine that the costs are from. */
const cores = 2;
const seconds = 6;

interface Prediction {
  readonly figure: string;
  readonly unit: string;
  readonly measured: number;
  readonly predicted: number;
}

export interface Validation {
  readonly calibration: Calibration;
  readonly predictions: readonly Prediction[];
}

/**
 * Simulates the machine that was measured, and compares the result with the measurement. Costs and the latencies at low load are inputs: what
 * is tested is how servers, batches and waits work together.
 */
export function validate(costs: Costs): Validation {
  const machine = (of: PathCosts, readingsPerMessage: number) => ({
    costs: of,
    cores,
    bytesPerReading: costs.frameBytes(readingsPerMessage),
  });
  const calibration = calibrate(machine(costs.fleet(1), 1), costs.lowLoad);
  const predictions = costs.drives.flatMap((drive) => {
    const of = (path: PathCosts) => new BenchMachine({ ...machine(path, drive.readingsPerFrame), ...calibration });
    return predict(drive, { inFlood: of(drive.inFlood), atAThird: of(thirdCosts(costs, drive)) });
  });
  return { calibration, predictions };
}

/** With many devices, the costs that the larger fleets are calculated with; otherwise those measured at this load. */
function thirdCosts(costs: Costs, { devices, readingsPerFrame, atAThird }: Drive): PathCosts {
  return devices < manyDevices ? atAThird : costs.fleet(readingsPerFrame);
}

const manyDevices = 10_000;

function predict(
  { devices, readingsInFlight, readingsPerFrame, outcome }: Drive,
  { inFlood, atAThird }: { readonly inFlood: BenchMachine; readonly atAThird: BenchMachine },
): Prediction[] {
  const load = costConditions({ kind: 'readingsPerSecond', devices, readingsPerFrame });
  const readingsPerSecond = inFlood.flood(devices * readingsInFlight, seconds);
  atAThird.pace(outcome.readingsPerSecond / 3, readingsPerFrame, seconds);
  const { acked, stored } = atAThird;
  return [
    {
      figure: `${load}: throughput`,
      unit: 'readings/s',
      measured: outcome.readingsPerSecond,
      predicted: readingsPerSecond,
    },
    { figure: `${load}: ack p50`, unit: 'ms', measured: outcome.ackP50Ms, predicted: acked.percentile(50) },
    { figure: `${load}: ack p99`, unit: 'ms', measured: outcome.ackP99Ms, predicted: acked.percentile(99) },
    { figure: `${load}: stored p50`, unit: 'ms', measured: outcome.storedP50Ms, predicted: stored.percentile(50) },
    { figure: `${load}: stored p99`, unit: 'ms', measured: outcome.storedP99Ms, predicted: stored.percentile(99) },
  ];
}
