import { seededRandom } from '../../fleet/random.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaults } from '../assumptions.ts';
import { hashImbalance, ringImbalance } from '../cells.ts';
import { replaceSection } from '../markdown.ts';
import { BenchMachine } from '../simulation/bench-machine.ts';
import { Clock } from '../simulation/clock.ts';
import { poisson } from '../simulation/draws.ts';
import { Latencies } from '../simulation/latencies.ts';
import { Machine, Thread } from '../simulation/machine.ts';
import { Site, type SiteOptions } from '../simulation/site.ts';

const far = 1e9;
const wait = (leastMs: number) => ({ leastMs, meanMs: 0 });

describe('a machine', () => {
  it('shares its cores equally among jobs, and gives one job at most one core', () => {
    const clock = new Clock();
    const machine = new Machine(clock, 2);
    const ends: number[] = [];
    for (const cpuMs of [10, 10, 10, 10]) machine.start(cpuMs, () => ends.push(clock.now));
    clock.run(far);
    expect(ends).toEqual([20, 20, 20, 20]);
    machine.start(10, () => ends.push(clock.now));
    clock.run(far);
    expect(ends.at(-1)).toBeCloseTo(30);
    expect(machine.busyMs).toBeCloseTo(50);
  });

  it('completes all jobs, whenever they arrive, and is busy for their CPU time', () => {
    const jobs = fc.array(
      fc.record({
        at: fc.double({ min: 0, max: 100, noNaN: true }),
        cpuMs: fc.double({ min: 0.01, max: 50, noNaN: true }),
      }),
      { minLength: 1, maxLength: 40 },
    );
    fc.assert(
      fc.property(jobs, fc.integer({ min: 1, max: 4 }), (given, cores) => {
        const clock = new Clock();
        const machine = new Machine(clock, cores);
        let done = 0;
        for (const { at, cpuMs } of given) clock.after(at, () => machine.start(cpuMs, () => (done += 1)));
        clock.run(far);
        const work = given.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
        expect(done).toBe(given.length);
        expect(machine.busyMs).toBeCloseTo(work, 3);
        expect(clock.now).toBeGreaterThanOrEqual(work / cores - 1e-3);
      }),
    );
  });

  it('runs the tasks of a thread one after the other', () => {
    const clock = new Clock();
    const thread = new Thread(new Machine(clock, 2));
    const ends: [string, number][] = [];
    thread.do(5, () => ends.push(['first', clock.now]));
    thread.do(5, () => ends.push(['second', clock.now]));
    clock.run(far);
    expect(ends).toEqual([
      ['first', 5],
      ['second', 10],
    ]);
  });
});

describe('one server with random arrivals', () => {
  it('has the mean queue of the Pollaczek–Khinchine formula', () => {
    const clock = new Clock();
    const random = seededRandom(1);
    const thread = new Thread(new Machine(clock, 1));
    const [serviceMs, utilisation, arrivals] = [1, 0.7, 200_000];
    let total = 0;
    let left = arrivals;
    const arrive = () => {
      const at = clock.now;
      thread.do(serviceMs, () => (total += clock.now - at));
      left -= 1;
      if (left > 0) clock.after((-Math.log(1 - random()) * serviceMs) / utilisation, arrive);
    };
    arrive();
    clock.run(far);
    const expected = serviceMs + (utilisation * serviceMs) / (2 * (1 - utilisation));
    expect(total / arrivals).toBeGreaterThan(expected * 0.95);
    expect(total / arrivals).toBeLessThan(expected * 1.05);
  });
});

describe('latencies', () => {
  it('have percentiles within 4 %', () => {
    const latencies = new Latencies();
    for (let ms = 1; ms <= 1_000; ms += 1) latencies.record(ms, 1);
    for (const percent of [50, 90, 99]) {
      expect(latencies.percentile(percent) / (percent * 10)).toBeGreaterThan(0.96);
      expect(latencies.percentile(percent) / (percent * 10)).toBeLessThan(1.04);
    }
  });
});

describe('draws', () => {
  it.each([0.3, 7, 200])('have mean and variance %d', (mean) => {
    const random = seededRandom(1);
    const drawn = Array.from({ length: 20_000 }, () => poisson(mean, random));
    const average = drawn.reduce((sum, count) => sum + count, 0) / drawn.length;
    const variance = drawn.reduce((sum, count) => sum + (count - average) ** 2, 0) / drawn.length;
    expect(Math.abs(average / mean - 1)).toBeLessThan(0.05);
    expect(Math.abs(variance / mean - 1)).toBeLessThan(0.05);
  });
});

const path = {
  ingest: { perReading: 10, perBatch: 100 },
  broker: { perReading: 0.5, perBatch: 50 },
  worker: { perReading: 5, perBatch: 100, perEnvelope: 50 },
  database: { perReading: 10, perBatch: 200 },
  load: { perReading: 1, perBatch: 0 },
};

describe('the machine of the bench', () => {
  it('stores nearly as much as its cores can, and no more', () => {
    const machine = new BenchMachine({
      costs: path,
      cores: 2,
      bytesPerReading: 150,
      confirm: wait(1),
      commit: wait(1),
    });
    const readingsPerSecond = machine.flood(10_000, 3);
    const possible = 2e6 / (10 + 0.5 + 5 + 10 + 1);
    expect(readingsPerSecond).toBeLessThan(possible);
    expect(readingsPerSecond).toBeGreaterThan(possible * 0.7);
  });

  it('acknowledges at low load after the confirm, without a linger', () => {
    const machine = new BenchMachine({
      costs: path,
      cores: 2,
      bytesPerReading: 150,
      confirm: wait(3),
      commit: wait(4),
    });
    machine.pace(10, 1, 20);
    expect(machine.acked.count).toBeGreaterThanOrEqual(199);
    const [ack, stored] = [3, 3 + 4];
    for (const percent of [1, 50, 99]) {
      expect(machine.acked.percentile(percent)).toBeGreaterThan(ack * 0.96);
      expect(machine.acked.percentile(percent)).toBeLessThan(ack * 1.2);
      expect(machine.stored.percentile(percent)).toBeGreaterThan(stored * 0.96);
      expect(machine.stored.percentile(percent)).toBeLessThan(stored * 1.1);
    }
  });
});

const options: SiteOptions = {
  costs: path,
  handshakeMicros: 150,
  tuning: defaults,
  messagesPerSecond: 10_000,
  readingsPerMessage: 1,
  bytesPerReading: 200,
  ingests: 3,
  queues: 2,
  workers: 2,
  databases: 1,
  databaseCores: 4,
  confirm: wait(2),
  commit: wait(2),
  tickMs: 1,
};

describe('an installation', () => {
  it('gives the same result in every run', () => {
    const run = () => {
      const site = new Site(options);
      site.runFor(2);
      return [
        site.acked.percentile(99),
        site.stored.percentile(99),
        site.workers.map((worker) => worker.storedReadings),
      ];
    };
    expect(run()).toEqual(run());
  });

  it('stores all readings with a short delay', () => {
    const site = new Site(options);
    site.runFor(5);
    const stored = site.workers.reduce((sum, { storedReadings }) => sum + storedReadings, 0);
    expect(stored).toBeGreaterThan(49_000);
    expect(stored).toBeLessThan(51_000);
  });

  it('queues readings while Postgres is unavailable, and stores the backlog afterwards', () => {
    const site = new Site(options);
    site.runFor(1);
    site.databases[0]!.stop();
    site.runFor(10);
    const queued = site.queues.reduce((sum, { readings }) => sum + readings, 0);
    expect(queued).toBeGreaterThan(95_000);
    site.databases[0]!.resume();
    site.runFor(30);
    expect(site.queues.every(({ readings }) => readings < 2_000)).toBe(true);
    expect(site.acked.percentile(99)).toBeLessThan(50);
  });

  it('refuses readings while a queue is full, and accepts them later', () => {
    const site = new Site({ ...options, bytesPerReading: 200_000 });
    site.runFor(1);
    site.databases[0]!.stop();
    site.runFor(5);
    site.databases[0]!.resume();
    site.runFor(25);
    expect(site.ingests.some(({ nackedReadings }) => nackedReadings > 0)).toBe(true);
    expect(site.queues.every(({ bytesMost }) => bytesMost <= 2 ** 32)).toBe(true);
  });

  it('confirms messages after the election of a new leader', () => {
    const site = new Site(options);
    site.runFor(1);
    site.queues[0]!.loseLeader(2_000);
    site.runFor(5);
    expect(site.acked.mostMs).toBeGreaterThan(1_900);
    site.acked.reset();
    site.runFor(2);
    expect(site.acked.mostMs).toBeLessThan(100);
  });
});

describe('cells', () => {
  it('are less even when fewer devices make the load', () => {
    const alike = hashImbalance([{ devices: 1e8, messagesPerSecond: 1 }], 100);
    const uneven = hashImbalance([{ devices: 1_000, messagesPerSecond: 1 }], 100);
    expect(alike).toBeLessThan(1.01);
    expect(uneven).toBeGreaterThan(1.5);
  });

  it('are more even with more points of each cell on the ring', () => {
    expect(ringImbalance(100, 1)).toBeGreaterThan(3);
    expect(ringImbalance(100, 1_000)).toBeLessThan(1.2);
  });
});

describe('a section of the page', () => {
  it('is replaced between its markers, and rejected without markers', () => {
    const page = 'a\n<!-- x -->\nold\n<!-- /x -->\nb';
    expect(replaceSection(page, 'x', 'new')).toBe('a\n<!-- x -->\nnew\n<!-- /x -->\nb');
    expect(() => replaceSection(page, 'y', 'new')).toThrow(/no <!-- y -->/);
  });
});
