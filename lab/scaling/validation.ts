import type { Costs, Drive, PathCosts } from './costs.ts';
import { BenchMachine, type Calibration, calibrate } from './simulation/bench-machine.ts';

/** Of the machine that the costs are from. */
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
 * The simulation of the machine that was measured, beside what was measured. Costs and calm latencies are from there, too: what is put
 * to the test is how servers, batches and waits work together.
 */
export function validate(costs: Costs): Validation {
  const machine = (of: PathCosts, readingsPerMessage: number) => ({
    costs: of,
    cores,
    bytesPerReading: costs.frameBytes(readingsPerMessage),
  });
  const calibration = calibrate(machine(costs.fleet(1), 1), costs.calm);
  const predictions = costs.drives.flatMap((drive) => {
    const of = (path: PathCosts) => new BenchMachine({ ...machine(path, drive.readingsPerFrame), ...calibration });
    return predict(drive, { inFlood: of(drive.inFlood), atAThird: of(thirdCosts(costs, drive)) });
  });
  return { calibration, predictions };
}

/** Of many devices at a third, the costs that the larger scales are reckoned with; the others are those of that load alone. */
function thirdCosts(costs: Costs, { devices, readingsPerFrame, atAThird }: Drive): PathCosts {
  return devices < manyDevices ? atAThird : costs.fleet(readingsPerFrame);
}

const manyDevices = 10_000;

function predict(
  { name, devices, readingsInFlight, readingsPerFrame, outcome }: Drive,
  { inFlood, atAThird }: { readonly inFlood: BenchMachine; readonly atAThird: BenchMachine },
): Prediction[] {
  const readingsPerSecond = inFlood.flood(devices * readingsInFlight, seconds);
  atAThird.pace(outcome.readingsPerSecond / 3, readingsPerFrame, seconds);
  const { acked, stored } = atAThird;
  return [
    {
      figure: `${name}: end to end`,
      unit: 'readings/s',
      measured: outcome.readingsPerSecond,
      predicted: readingsPerSecond,
    },
    { figure: `${name}: ack p50`, unit: 'ms', measured: outcome.ackP50Ms, predicted: acked.percentile(50) },
    { figure: `${name}: ack p99`, unit: 'ms', measured: outcome.ackP99Ms, predicted: acked.percentile(99) },
    { figure: `${name}: stored p50`, unit: 'ms', measured: outcome.storedP50Ms, predicted: stored.percentile(50) },
    { figure: `${name}: stored p99`, unit: 'ms', measured: outcome.storedP99Ms, predicted: stored.percentile(99) },
  ];
}
