import { describe, expect, it, test } from 'vitest';
import { viewer } from '../src/format.ts';
import { zone } from '../src/times.ts';
import {
  type Instance,
  type PipelineFacts,
  instancesOf,
  queueFacts,
  readingRates,
  retriesOf,
  shownInstances,
} from '../src/views/pipeline/facts.ts';
import { ageX, shortName, stageOf, thickness, vessel } from '../src/views/pipeline/geometry.ts';
import { eventsOfQueue, queueCharts } from '../src/views/pipeline/history.ts';
import { acknowledgeable, equationOf, minutesOf, stripText } from '../src/views/pipeline/reconciliation.ts';
import {
  alarmName,
  alarmWhen,
  instanceText,
  pipelineSentence,
  stageSentences,
  vesselLines,
} from '../src/views/pipeline/sentences.ts';

viewer.locale = 'en-GB';
zone.value = 'Europe/Berlin';
const now = Date.parse('2026-11-21T13:32:10Z');

const queue = {
  name: 'telemetry.persist',
  ready: 5_800,
  unacked: 12,
  readingsEstimate: 70_740,
  consumers: 2,
  rates: { in: 73.6, out: 126.5, net: -52.9 },
  oldest: { ageSeconds: 79, atLeast: false, atMost: false, source: 'worker' as const },
  drain: { seconds: 110, reason: 'shrinks by 53 messages/s' },
  bounds: { messagesMax: 100_000, bytesMax: null, fullness: 0.058 },
  bottleneck: { verdict: 'none' as const, why: 'The queue shrinks and is empty in about 110 s.' },
};
const empty = {
  ...queue,
  ready: 0,
  unacked: 0,
  readingsEstimate: 0,
  oldest: { ...queue.oldest, ageSeconds: 0 },
  drain: { seconds: 0, reason: 'the queue is empty' },
};
const balanced = { state: 'balanced', missing: 0, surplus: 0, acknowledged: { missing: 0, surplus: 0 } } as const;
const well: PipelineFacts = {
  now,
  isFresh: true,
  devices: { online: 1_209, total: 1_248 },
  inPerSecond: 896,
  storedPerSecond: 896,
  highestPerSecond: 1_540,
  areInstancesKnown: true,
  ingest: [],
  workers: [],
  queue: queueFacts(empty),
  peak: undefined,
  answering: 2,
  holding: 0,
  retries: [],
  brokerAlarms: [],
  broker: 'up',
  database: { state: 'up', latencyMs: 2 },
  circuits: [],
  apiMs: 12,
  nackedPerSecond: 0,
  accounts: balanced,
  deadLetters: { open: 0, newestAt: undefined },
  delayMs: 400,
};
const shrinks = { queue: queueFacts(queue), storedPerSecond: 1_540 };
const grows = {
  queue: {
    ...queueFacts({
      ...queue,
      rates: { in: 100, out: 76.5, net: 23.5 },
      drain: { seconds: null, reason: 'grows by 24 messages/s' },
      bottleneck: { verdict: 'postgres', why: '' },
    }),
  },
};

describe('the sentence of the pipeline, by what matters first', () => {
  test.each<[string, Partial<PipelineFacts>, string, string]>([
    [
      'the broker does not answer',
      { broker: 'down', database: { state: 'down', latencyMs: undefined }, ...grows },
      'crit',
      'The bottleneck is RabbitMQ: it does not answer. Devices keep their readings and send them again.',
    ],
    [
      'the broker blocks publishers',
      { brokerAlarms: ['memory'] },
      'crit',
      'The bottleneck is RabbitMQ: it blocks publishers (memory). Devices keep their readings and send them again.',
    ],
    [
      'readings are missing',
      {
        accounts: { ...balanced, state: 'unbalanced', missing: 5, acknowledged: { missing: 2, surplus: 0 } },
        ...grows,
      },
      'crit',
      '3 readings of the last hour are missing: received, and neither stored nor dead-lettered.',
    ],
    [
      'nothing is written',
      { holding: 1, ...grows },
      'crit',
      'The bottleneck is Postgres: it does not write. 70,740 readings wait in the queue, which has room for 1 h 6 min.',
    ],
    [
      'no worker consumes',
      { answering: 0, queue: { ...grows.queue, consumers: 0 } },
      'crit',
      'No worker takes readings from the queue. 70,740 readings wait in the queue, which has room for 1 h 6 min.',
    ],
    ['the backlog grows', grows, 'warn', 'The bottleneck is Postgres: the queue grows and is full in about 1 h.'],
    ['the backlog shrinks', shrinks, 'warn', 'There is no bottleneck now. The queue will be empty in about 2 min.'],
    [
      'dead letters arrive',
      { deadLetters: { open: 2_169, newestAt: now - 2_000 } },
      'warn',
      'There is no bottleneck, but readings are refused: 2,169 wait as dead letters, and new ones keep arriving.',
    ],
    [
      'all is well, also with dead letters of yesterday',
      { deadLetters: { open: 9, newestAt: now - 86_400_000 } },
      'ok',
      'There is no bottleneck: every reading is stored within 0.4 s.',
    ],
  ])('%s', (_, facts, tone, text) => {
    expect(pipelineSentence({ ...well, ...facts })).toMatchObject({ tone, text: expect.any(String) });
    expect(pipelineSentence({ ...well, ...facts }).text.replaceAll('\u00a0', ' ')).toBe(text);
  });

  it('says the rates, which instance stopped, and that nothing is missing only where the report says so', () => {
    const stopped = { id: 'x', name: 'ingest-3', perSecond: undefined, stoppedAt: now - 1_248_000, note: '' };
    const { detail } = pipelineSentence({ ...well, ...shrinks, ingest: [stopped] });
    expect(detail).toBe(
      'In 896/s, stored 1,540/s: the backlog shrinks by 644 readings/s. ingest-3 has not been heard since 14:11:22, and did not say that it ends. Nothing is missing in the last hour.',
    );
    expect(pipelineSentence({ ...well, accounts: { ...balanced, state: 'incomplete' } }).detail).not.toContain(
      'missing',
    );
    expect(pipelineSentence({ ...well, accounts: undefined }).detail).not.toContain('missing');
  });

  it('says neither that readings are missing nor that nothing is, where the report is unbalanced by a surplus alone', () => {
    const surplus = { ...balanced, state: 'unbalanced', missing: 0, surplus: 41 } as const;
    const { tone, text, detail } = pipelineSentence({ ...well, accounts: surplus });
    expect({ tone, text: text.replaceAll('\u00a0', ' ') }).toEqual({
      tone: 'ok',
      text: 'There is no bottleneck: every reading is stored within 0.4 s.',
    });
    expect(`${text} ${detail}`).not.toMatch(/missing/i);
  });
});

describe('the facts of the queue', () => {
  it('are in readings where workers have said how large messages are', () => {
    expect(queueFacts(queue)).toMatchObject({ readings: 70_740, messages: 5_812, oldestMs: 79_000, drainMs: 110_000 });
    expect(queueFacts(queue).netPerSecond).toBeCloseTo(-644, 0);
    expect(readingRates(queue, { received: 1, stored: 1 }).stored).toBeCloseTo(1_540, 0);
  });

  it('of an empty queue take the rates of the last whole minute, and zero where nothing flows', () => {
    expect(readingRates(empty, { received: 20, stored: 19 })).toEqual({ received: 20, stored: 19 });
    expect(readingRates({ ...empty, rates: { in: 0, out: 0, net: 0 } }, { received: 20, stored: 19 })).toEqual({
      received: 0,
      stored: 0,
    });
    expect(readingRates({ ...queue, readingsEstimate: 3 }, { received: 20, stored: 19 })).toEqual({
      received: 20,
      stored: 19,
    });
    expect(readingRates(undefined, undefined)).toEqual({ received: undefined, stored: undefined });
  });

  it('say what stands in the vessel', () => {
    const words = (facts: PipelineFacts['queue']) => vesselLines(facts!).join('; ').replaceAll('\u00a0', ' ');
    expect(words(queueFacts(queue))).toBe('oldest 1 min 19 s; empty in 1 min 50 s');
    expect(words(grows.queue)).toBe('oldest 1 min 19 s; grows by 286/s, full in 1 h 6 min');
    expect(words(queueFacts(empty))).toBe('nothing waits; ');
  });

  it('name the retry steps in their order, and breakers and back-pressure in words', () => {
    const retry = { ...queue, name: 'telemetry.retry.1m', ready: 24, unacked: 0 };
    expect(retriesOf([retry])).toEqual([
      { label: '10 s', messages: 0 },
      { label: '1 min', messages: 24 },
      { label: '10 min', messages: 0 },
    ]);
    const circuits = [
      { name: 'history', state: 'half-open' as const },
      { name: 'latest', state: 'closed' as const },
    ];
    const said = stageSentences({ ...well, retries: retriesOf([retry]), circuits, nackedPerSecond: 12 });
    expect(said).toMatchObject({
      retries: 'retry: 24 after 1 min',
      apiNote: '1 of 2 breakers half-open',
      ingestNote: '0 instances · back-pressure: 12 readings/s sent back',
      workers: '2 workers, 896/s',
    });
  });
});

describe('the picture', () => {
  it('has a logarithmic axis of time with the head at the right', () => {
    expect([900, 300, 60, 10, 1, 0].map((seconds) => Math.round(ageX(seconds)))).toEqual([
      470, 523, 601, 684, 766, 800,
    ]);
    expect(ageX(1e9)).toBe(vessel.left);
  });

  it('draws ribbons as wide as the rate, which add up where they join', () => {
    expect([0, 1, 385, 770, 1_540].map((rate) => thickness(rate, 1_540))).toEqual([0, 1.5, 5, 10, 20]);
    const of = (id: string, perSecond: number | undefined, stoppedAt?: number) => ({
      id,
      name: id,
      perSecond,
      stoppedAt,
      note: '',
    });
    const places = { left: 84, boxLeft: 214, boxRight: 342, right: 470, boxPx: 28, gapPx: 10, boxesMax: 4 };
    const stage = stageOf([of('a', 770), of('b', undefined), of('c', undefined, 1)], 1_540, 1_540, places);
    expect(stage.boxes.map(({ y }) => y)).toEqual([93, 131, 169]);
    expect(stage.ribbons.map(({ id, out }) => [id, out.line.split(' ').at(-1)])).toEqual([
      ['a', '121'],
      ['b', '131'],
    ]);
    expect(stageOf([of('a', 0)], 0, 1_540, places).ribbons).toEqual([]);
    expect(
      stageOf(
        Array.from({ length: 6 }, (_, n) => of(`${n}`, 1)),
        6,
        6,
        places,
      ),
    ).toMatchObject({ more: 2 });
  });

  it('shortens names that do not fit', () => {
    expect(shortName('94e3649c-9623-4050-82bd-90b812c6b1b7', 15)).toBe('94e3649c');
    expect(shortName('ingest-in-the-basement', 9)).toBe('ingest-i…');
  });
});

const none = { received: 0, replayed: 0, stored: 0, duplicate: 0, conflicting: 0, rejected: 0, deadLettered: 0 };
const total = {
  ...none,
  received: 3_228_417,
  replayed: 388,
  stored: 3_148_230,
  duplicate: 5_120,
  rejected: 312,
  deadLettered: 2_444,
  inFlight: 72_740,
  missing: 0,
  surplus: 41,
  acknowledged: { missing: 0, surplus: 0 },
  nacked: 0,
  state: 'incomplete' as const,
};
const minute = (text: string, state: 'balanced' | 'incomplete' | 'settling', surplus = 0) => ({
  ...none,
  inFlight: 0,
  missing: 0,
  surplus,
  acknowledged: { missing: 0, surplus: 0 },
  nacked: 0,
  minute: `2026-11-21T13:${text}:00.000Z`,
  state,
});
const report = {
  covers: { from: '', to: '', deviceId: null, recounted: false },
  explanation: '',
  total,
  data: [minute('11', 'incomplete', 41), minute('30', 'balanced'), minute('32', 'settling', 7)],
  edges: [
    {
      instanceId: 'ingest-3',
      state: 'silent' as const,
      lastReportedAt: '2026-11-21T13:11:22.000Z',
      acknowledged: false,
      missingReports: [{ from: 118, to: 118 }],
    },
    {
      instanceId: 'ingest-1',
      state: 'reporting' as const,
      lastReportedAt: '',
      acknowledged: false,
      missingReports: [],
    },
    { instanceId: 'ingest-0', state: 'finished' as const, lastReportedAt: '', acknowledged: false, missingReports: [] },
  ],
  acknowledgements: [],
  unreadable: 0,
};

describe('the accounting', () => {
  it('is an equation: to account for, where it is, and what is missing or too much', () => {
    const lines = equationOf(total, 70_740);
    expect(lines.map(({ label, value }) => `${label} ${value}`)).toEqual([
      'Received at the edge 3228417',
      'Replayed from dead letters 388',
      'To account for 3228805',
      'Stored 3148230',
      'Duplicates 5120',
      'Rejected at the edge 312',
      'Dead-lettered 2444',
      'In flight, 70,740 of it queued 72740',
      'Missing 0',
      'Surplus 41',
    ]);
    expect(lines.filter(({ warns }) => warns).map(({ label }) => label)).toEqual(['Surplus']);
    expect(equationOf({ ...total, state: 'settling' }, 0).some(({ warns }) => warns)).toBe(false);
    expect(equationOf({ ...total, acknowledged: { missing: 0, surplus: 41 } }, 0).some(({ warns }) => warns)).toBe(
      false,
    );
  });

  it('has one mark for each of the last 60 minutes', () => {
    const minutes = minutesOf(report.data, now);
    expect(minutes).toHaveLength(60);
    expect(stripText(minutes)).toBe(
      'Each of the last 60 minutes: 1 balanced, 1 settling, 14:11 incomplete, 57 without readings',
    );
  });

  it('names what an acknowledgement covers: the minutes, the readings, the instance and its reports', () => {
    expect(acknowledgeable(report, now)).toEqual({
      from: Date.parse('2026-11-21T13:11:00Z'),
      to: Date.parse('2026-11-21T13:12:00Z'),
      missing: 0,
      surplus: 41,
      edges: ['ingest-3 sent its last report at 14:11:22, and no final one; missing 1 report 118.'],
    });
    expect(acknowledgeable({ ...report, data: [], edges: [] }, now)).toBeUndefined();
  });
});

describe('the instances', () => {
  const instance = (more: Partial<Instance>): Instance => ({
    service: 'ingest-ws',
    instanceId: more.name ?? 'a',
    name: 'ingest-1',
    version: '0.1.0',
    state: 'running',
    startedAt: '2026-11-18T08:30:00.000Z',
    lastSeenAt: '2026-11-21T13:12:10.000Z',
    acknowledged: false,
    perSecond: 312,
    sockets: 403,
    transactions: null,
    ...more,
  });
  const stopped = instance({ name: 'ingest-3', state: 'stopped', perSecond: null });

  it('of the picture are those that run and those that stopped, unless an operator knows it', () => {
    const all = [
      instance({}),
      stopped,
      instance({ name: 'ingest-4', state: 'stopped', acknowledged: true }),
      instance({ name: 'ingest-5', state: 'finished' }),
      instance({ name: 'worker-1', service: 'persistence-worker', transactions: { busy: 3, max: 4 } }),
      instance({
        name: 'worker-2',
        service: 'persistence-worker',
        state: 'holding',
        transactions: { busy: 0, max: 4 },
      }),
    ];
    expect(instancesOf(all, 'ingest-ws')).toEqual([
      { id: 'a', name: 'ingest-1', perSecond: 312, stoppedAt: undefined, note: '' },
      { id: 'ingest-3', name: 'ingest-3', perSecond: undefined, stoppedAt: Date.parse(stopped.lastSeenAt), note: '' },
    ]);
    expect(instancesOf(all, 'persistence-worker').map(({ note }) => note)).toEqual(['3 of 4 slots busy', 'holding']);
  });

  it('of the table say for how long they run, or since when they do not; one that ended in order is shown for an hour', () => {
    const said = (one: Instance) => {
      const { tone, upFor, warns } = instanceText(one, now);
      return `${tone} ${upFor.replaceAll('\u00a0', ' ')}${warns ? ' !' : ''}`;
    };
    expect(said(instance({}))).toBe('on 3 d 5 h');
    expect(said(instance({ state: 'holding' }))).toBe('on holding, 3 d 5 h !');
    expect(said(stopped)).toBe('off stopped 20 min ago !');
    expect(said({ ...stopped, acknowledged: true })).toBe('off stopped, acknowledged');
    expect(said(instance({ state: 'finished' }))).toBe('off ended 20 min ago');
    expect(said(instance({ state: 'unknown' }))).toBe('never not heard');
    const old = instance({ state: 'finished', lastSeenAt: '2026-11-21T12:32:00.000Z' });
    expect(shownInstances([old, stopped], now)).toEqual([stopped]);
  });
});

describe('the history of the queue', () => {
  const at = (second: number) => `2026-11-21T13:00:${String(second).padStart(2, '0')}.000Z`;
  const point = { ready: 0, unacked: 0, readingsEstimate: 0, in: 10, out: 10, oldestSeconds: 0 };
  const full = { ...point, ready: 90, unacked: 10, readingsEstimate: 1_000, in: 20, out: 5, oldestSeconds: 79 };

  it('is in readings by the size that messages had, and a time without samples is a gap', () => {
    const { depth, rates, unit, peak, deepest } = queueCharts(
      [
        { ...point, at: at(0) },
        { ...full, at: at(15) },
        { ...point, at: at(59) },
      ],
      15_000,
    );
    expect(unit).toBe('readings');
    expect(depth.series[0]!.values).toEqual([0, 1_000, null, 0]);
    expect(rates.series.map(({ label, values }) => [label, values])).toEqual([
      ['stored', [100, 50, null, 100]],
      ['in', [100, 200, null, 100]],
    ]);
    expect(peak).toEqual({ at: Date.parse(at(15)), seconds: 79 });
    expect(deepest).toEqual({ at: Date.parse(at(15)), value: 1_000 });
  });

  it('is explained by alarms, by an instance that joined others, and by one that stopped; not by a start of all', () => {
    const instance = (name: string, startedAt: string, state: Instance['state'] = 'running'): Instance => ({
      instanceId: name,
      service: 'persistence-worker',
      name,
      version: '0.1.0',
      startedAt,
      lastSeenAt: '2026-11-21T13:11:00.000Z',
      state,
      acknowledged: false,
      perSecond: null,
      sockets: null,
      transactions: null,
    });
    const alarm = {
      name: 'FleetwireWorkerHolds',
      severity: 'critical' as const,
      subject: '',
      summary: '',
      action: '',
      state: 'ended' as const,
      since: '2026-11-21T13:11:20.000Z',
      until: '2026-11-21T13:12:54.000Z',
    };
    const events = eventsOfQueue(
      [
        instance('worker-1', '2026-11-21T08:00:00.000Z'),
        instance('worker-2', '2026-11-21T13:26:00.000Z'),
        instance('worker-3', '2026-11-21T08:00:10.000Z', 'stopped'),
      ],
      [alarm, { ...alarm, state: 'pending', until: null }],
    );
    expect(events.map(({ text, label }) => [text, label])).toEqual([
      ['Worker holds', 'Worker holds 14:11'],
      ['Worker holds: ended', ''],
      ['worker-2 starts', 'worker-2 starts 14:26'],
      ['worker-3 stops', 'worker-3 stops 14:11'],
    ]);
  });

  it('is in messages where no worker has said how large they are', () => {
    const { depth, unit } = queueCharts([{ ...full, readingsEstimate: null, at: at(0) }], 15_000);
    expect([unit, depth.series[0]!.values]).toEqual(['messages', [100]]);
    expect(queueCharts([], 15_000)).toMatchObject({ peak: undefined, deepest: undefined });
  });
});

test.each([
  [{ state: 'firing', since: '2026-11-21T13:12:40Z', until: null }, 'firing 19 min'],
  [{ state: 'pending', since: '2026-11-21T13:31:40Z', until: null }, 'pending 30 s'],
  [{ state: 'firing', since: null, until: null }, 'firing'],
  [{ state: 'ended', since: '2026-11-21T13:12:00Z', until: '2026-11-21T13:13:00Z' }, '14:12–14:13'],
])('an alarm says since when, or from when to when: %j', (alarm, text) => {
  expect(alarmWhen(alarm, now).replaceAll('\u00a0', ' ')).toBe(text);
  expect(alarmName('FleetwireOldestReadingTooOld')).toBe('Oldest reading too old');
});
