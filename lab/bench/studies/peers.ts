import { type DurableRate, measureDurableRate } from '../durable-rate.ts';
import type { Figure, Goal } from '../figure.ts';
import { type PeerName, compilePeers } from '../peer-processes.ts';
import { startPeer } from '../peer-pipeline.ts';
import { BenchPlatform } from '../platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';

type Contender = 'fleetwire' | PeerName;
export type PeersRun = Readonly<Record<Contender, DurableRate>>;

const nameOf: Readonly<Record<Contender, string>> = {
  fleetwire: 'Fleetwire',
  nest: 'NestJS → RabbitMQ → TypeORM',
  rest: 'socket → REST → row',
};
const contenders = Object.keys(nameOf) as Contender[];
const nestGoal: Goal = { direction: 'at least', bar: 10, moonshot: 20 };

/** Durable readings per second beside two usual pipelines, under the same load on the same servers, one after the other. */
export async function studyPeers(context: StudyContext): Promise<StudyResult> {
  const { settings, log } = context;
  compilePeers();
  const runs: PeersRun[] = [];
  for (let run = 1; run <= settings.runs; run += 1) {
    const rates = {
      fleetwire: await measureFleetwire(context),
      nest: await measurePeer(context, 'nest'),
      rest: await measurePeer(context, 'rest'),
    };
    runs.push(rates);
    const described = contenders.map((name) => `${nameOf[name]} ${Math.round(rates[name].readingsPerSecond)}/s`);
    log(`run ${run}: ${described.join(', ')}`);
  }
  return { figures: peerFigures(runs), data: runs };
}

/** The rates, and Fleetwire's divided by each of the others' of the same run. */
export function peerFigures(runs: readonly PeersRun[]): Figure[] {
  return [...contenders.map((name) => rateOf(runs, name)), ratioTo(runs, 'nest', nestGoal), ratioTo(runs, 'rest')];
}

async function measureFleetwire(context: StudyContext): Promise<DurableRate> {
  await using platform = await BenchPlatform.start(context, { name: 'fleetwire' });
  return await measureDurableRate(platform, context.settings);
}

async function measurePeer(context: StudyContext, peer: PeerName): Promise<DurableRate> {
  await using pipeline = await startPeer(context, peer);
  return await measureDurableRate(pipeline, context.settings);
}

function rateOf(runs: readonly PeersRun[], contender: Contender): Figure {
  return {
    id: { kind: 'pipelineReadingsPerSecond', pipeline: contender },
    name: nameOf[contender],
    unit: 'readings/s',
    samples: runs.map((run) => ({
      value: run[contender].readingsPerSecond,
      othersCpuShare: run[contender].othersCpuShare,
    })),
  };
}

function ratioTo(runs: readonly PeersRun[], peer: PeerName, goal?: Goal): Figure {
  return {
    id: { kind: 'ratioToPipeline', pipeline: peer },
    name: `Fleetwire ÷ ${nameOf[peer]}`,
    unit: '',
    ...(goal !== undefined && { goal }),
    samples: runs.map(({ fleetwire, [peer]: other }) => ({
      value: fleetwire.readingsPerSecond / other.readingsPerSecond,
      othersCpuShare: Math.max(fleetwire.othersCpuShare, other.othersCpuShare),
    })),
  };
}
