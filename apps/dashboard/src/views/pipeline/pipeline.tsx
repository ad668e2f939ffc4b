import '../../styles/pipeline.css';
import { useComputed } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { answerOf, api } from '../../api.ts';
import { Say } from '../../area.tsx';
import { now } from '../../clock.ts';
import { fleetCounts } from '../../fleet.ts';
import {
  completeUntil,
  installation,
  minuteRates,
  openDeadLetters,
  queueAsOf,
  staleMs,
  workQueue,
} from '../../installation.ts';
import { query } from '../../query.ts';
import { useResource } from '../../resource.ts';
import { Accounting } from './accounting.tsx';
import { Alarms } from './alarms.tsx';
import { type PipelineFacts, instancesOf, queueFacts, readingRates, retriesOf } from './facts.ts';
import { eventsOfQueue, queueCharts } from './history.ts';
import { History, historyRanges } from './history.tsx';
import { Picture } from './picture.tsx';
import { pipelineSentence } from './sentences.ts';
import { Breakers, Instances } from './side.tsx';
import { StageList } from './stage-list.tsx';

/** Where readings are now, and whether any is missing. */
export default function Pipeline(_: { readonly path: string }) {
  const range = historyRanges.find(([value]) => value === query.value['range'])?.[0] ?? '1h';
  const history = useResource(
    (signal) =>
      answerOf(
        api.GET('/api/v1/queues/history', { params: { query: { from: `now-${range}`, maxPoints: 240 } }, signal }),
      ),
    { question: range, everyMs: 15_000 },
  );
  const shown = history.state.value.data;
  const peak = useMemo(() => {
    const points = shown?.data.find(({ name }) => name === 'telemetry.persist')?.points ?? [];
    return queueCharts(points, (shown?.intervalSeconds ?? 15) * 1_000).peak;
  }, [shown]);
  const instances = useResource((signal) => answerOf(api.GET('/api/v1/instances', { signal })), { everyMs: 5_000 });
  const alarms = useResource((signal) => answerOf(api.GET('/api/v1/alarms', { signal })), { everyMs: 10_000 });
  const all = instances.state.value.data?.data;
  const told = alarms.state.value.data?.data;
  const events = useMemo(() => eventsOfQueue(all ?? [], told ?? []), [all, told]);
  const facts: PipelineFacts = {
    ...useComputed(gather).value,
    peak,
    areInstancesKnown: all !== undefined,
    ingest: instancesOf(all ?? [], 'ingest-ws'),
    workers: instancesOf(all ?? [], 'persistence-worker'),
  };
  const known = installation.value;
  return (
    <>
      <Say sentence={pipelineSentence(facts)} />
      <section class="picture way">
        <Picture facts={facts} />
        <StageList facts={facts} />
      </section>
      <div class="cols" id="pipecols">
        <section>
          <History history={history} range={range} events={events} />
        </section>
        <Accounting report={known?.ledger} queued={facts.queue?.readings} now={facts.now} />
        <section>
          <Alarms alarms={alarms} now={facts.now} />
          <div class="sp">
            <Instances instances={instances} now={facts.now} />
          </div>
          <div class="sp">
            <Breakers status={known?.status} />
          </div>
        </section>
      </div>
    </>
  );
}

/** What all areas show, of the answers that this tab has. */
function gather(): Omit<PipelineFacts, 'peak' | 'areInstancesKnown' | 'ingest' | 'workers'> {
  const known = installation.value;
  const queues = known?.queues?.state.value.data;
  const status = known?.status.state.value.data;
  const report = known?.ledger?.state.value.data;
  const queue = workQueue.value;
  const minute = minuteRates.value;
  const rates = readingRates(queue, minute);
  const highest = (report?.data ?? []).reduce((most, one) => Math.max(most, one.received / 60, one.stored / 60), 0);
  const lastMinute = report?.data.filter((one) => Date.parse(one.minute) + 60_000 <= now.value).at(-1);
  const counts = fleetCounts.value;
  const until = completeUntil.value;
  const workers = queues?.workers ?? { answering: 0, holding: 0 };
  return {
    now: now.value,
    isFresh: Date.now() - (queueAsOf.value ?? 0) < staleMs,
    devices: counts === undefined ? undefined : { online: counts.online, total: counts.total },
    inPerSecond: rates.received,
    storedPerSecond: rates.stored,
    highestPerSecond: Math.max(highest, rates.received ?? 0, rates.stored ?? 0),
    queue: queue === undefined ? undefined : queueFacts(queue),
    ...workers,
    retries: retriesOf(queues?.data ?? []),
    brokerAlarms: queues?.alarms ?? [],
    broker: status?.broker.state,
    database: status === undefined ? undefined : { state: status.database.state, latencyMs: status.database.latencyMs },
    circuits: status?.circuits ?? [],
    apiMs: status?.roundTripMs,
    nackedPerSecond: lastMinute === undefined ? (report === undefined ? undefined : 0) : lastMinute.nacked / 60,
    accounts: report?.total,
    deadLetters: openDeadLetters.value,
    delayMs: until === undefined ? undefined : Math.max(0, now.value - until),
  };
}
