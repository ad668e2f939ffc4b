import { percentile } from './figure.ts';
import { LoadedPlatform } from './loaded-platform.ts';
import { QueryClient } from './query-client.ts';
import type { StudyContext } from './study.ts';
import { deviceIdOf } from './workload.ts';

const dayMs = 24 * 3_600_000;
export const expensiveClients = 10;
const cheap = `/devices/${deviceIdOf(0)}/latest`;
/** No limit of a caller ends a measurement. */
export const withoutLimits = { RATE_LIMIT_PER_MINUTE: '1000000', QUERY_COST_PER_MINUTE: '1000000000' };

/** p99 of cheap reads in ms. */
export interface BesideExpensive {
  readonly alone: number;
  readonly expensive: number;
}

export interface BesideWrites {
  /** p99 of cheap reads in ms. */
  readonly alone: number;
  readonly writing: number;
  /** Of half of the maximum, and of the maximum: the share of the readings/s that is missing beside one reader. */
  readonly paceLost: number;
  readonly floodLost: number;
  readonly othersCpuShare: number;
}

/** Cheap reads of one caller alone, and while ten others ask what takes long. @param to end of the history */
export async function measureBesideExpensive(
  clientOf: (subject: string) => Promise<QueryClient>,
  { seconds, to }: { readonly seconds: number; readonly to: number },
): Promise<BesideExpensive> {
  const range = { from: new Date(to - 7 * dayMs).toISOString(), to: new Date(to).toISOString() };
  const heavy = `/series?${new URLSearchParams({ metrics: 'temperature', pattern: '*', groupBy: 'none', agg: 'p95', interval: '1h', ...range }).toString()}`;
  using reader = await clientOf('bench');
  const alone = await p99Of(reader, seconds);
  const ended = new AbortController();
  const asking = Array.from({ length: expensiveClients }, async (_, index) => {
    using client = await clientOf(`expensive-${index}`);
    while (!ended.signal.aborted) await client.get(heavy).catch(refusedOnly);
  });
  const expensive = await p99Of(reader, seconds);
  ended.abort();
  await Promise.all(asking);
  return { alone, expensive };
}

/** Expensive questions beyond a bound are refused, or end with the statement timeout, which is what the bounds are for. */
function refusedOnly(error: unknown): void {
  if (!(error instanceof Error && /^(429|503|504) /.test(error.message))) throw error;
}

/** One reader of latest states without pause, beside writes at half of the maximum, and beside a flood. All runs load one platform. */
export async function measureBesideWrites(context: StudyContext): Promise<BesideWrites[]> {
  const { seconds, runs } = context.settings;
  await using platform = await LoadedPlatform.start(context, {
    name: 'query-writes',
    readingsPerFrame: 20,
    apis: 1,
    env: withoutLimits,
  });
  using reader = new QueryClient(`${platform.apiUrl}/api/v1`, {
    authorization: `Bearer ${await platform.roleToken('bench', 'analyst')}`,
  });
  const measured: BesideWrites[] = [];
  while (measured.length < runs) {
    const alone = await p99Of(reader, seconds);
    const without = await platform.flood(seconds);
    const [during] = await Promise.all([platform.flood(seconds), p99Of(reader, seconds)]);
    const half = Math.max(without.readingsPerSecond, during.readingsPerSecond) / 2;
    const [writing, paced] = await Promise.all([p99Of(reader, seconds), platform.steady(seconds, half)]);
    measured.push({
      alone,
      writing,
      paceLost: 1 - paced.readingsPerSecond / half,
      floodLost: 1 - during.readingsPerSecond / without.readingsPerSecond,
      othersCpuShare: Math.max(without.othersCpuShare, during.othersCpuShare, paced.othersCpuShare),
    });
  }
  return measured;
}

async function p99Of(client: QueryClient, seconds: number): Promise<number> {
  const times: number[] = [];
  const endsAt = performance.now() + seconds * 1_000;
  while (performance.now() < endsAt) times.push((await client.get(cheap)).elapsedMs);
  return percentile(times, 99);
}
