import type { Database } from '@fleetwire/store/database';
import { classifyFailure } from '@fleetwire/store/failure';
import { type Books, type BooksQuery, readBooks } from '@fleetwire/store/books';
import { type Gap, type GapsQuery, type SequenceSummary, gaps, sequencesOf } from '@fleetwire/store/gaps';
import * as store from '@fleetwire/store/readers';
import type { Circuit } from './circuit.ts';

type Without<T> = Omit<T, 'signal'>;

/** The store's readers, each inside the circuit of its kind of work. */
export interface Reads {
  latestOfAll(page: Without<Parameters<typeof store.latestOfAll>[1]>): Promise<store.LatestState[]>;
  latestOf(deviceId: string): Promise<store.LatestState | undefined>;
  listDevices(page: Without<Parameters<typeof store.listDevices>[1]>): Promise<store.DeviceSummary[]>;
  getDevice(deviceId: string): Promise<store.DeviceDetails | undefined>;
  /** `undefined` where the device is unknown. */
  readings(query: Without<store.StoredReadingsQuery>): Promise<store.StoredReading[] | undefined>;
  storeStatus(): Promise<store.StoreStatus>;
  books(query: Without<BooksQuery>): Promise<Books>;
  /** `undefined` where the device, or its epoch, is unknown. */
  gaps(
    query: Pick<GapsQuery, 'deviceId' | 'limit' | 'after'> & { readonly epoch: string | undefined },
  ): Promise<{ readonly sequences: readonly SequenceSummary[]; readonly gaps: readonly Gap[] } | undefined>;
}

export interface Circuits {
  readonly latest: Circuit;
  readonly registry: Circuit;
  readonly history: Circuit;
}

/** @param history a pool of its own: months of data must not keep the latest state waiting */
export function createReads(light: Database, history: Database, circuits: Circuits): Reads {
  return {
    latestOfAll: (page) => circuits.latest.run((signal) => store.latestOfAll(light, { ...page, signal })),
    latestOf: (deviceId) => circuits.latest.run((signal) => store.latestOf(light, { deviceId, signal })),
    listDevices: (page) => circuits.registry.run((signal) => store.listDevices(light, { ...page, signal })),
    getDevice: (deviceId) => circuits.registry.run((signal) => store.getDevice(light, { deviceId, signal })),
    storeStatus: () => circuits.registry.run((signal) => store.storeStatus(light, { signal })),
    books: (query) => circuits.history.run((signal) => readBooks(history, { ...query, signal })),
    gaps: ({ epoch, ...query }) =>
      circuits.history.run(async (signal) => {
        const sequences = await sequencesOf(history, { deviceId: query.deviceId, epoch, signal });
        if (sequences.length > 0)
          return { sequences, gaps: await gaps(history, { ...query, streams: sequences, signal }) };
        const device = await store.getDevice(history, { deviceId: query.deviceId, signal });
        const isKnown = epoch === undefined || device?.epochs.some((one) => one.epoch === epoch);
        return device && isKnown ? { sequences, gaps: [] } : undefined;
      }),
    readings: (query) =>
      circuits.history.run(async (signal) => {
        const rows = await store.readings(history, { ...query, signal });
        if (rows.length > 0 || query.after !== undefined) return rows;
        const device = await store.getDevice(history, { deviceId: query.deviceId, signal });
        return device && rows;
      }),
  };
}

/** Whether an error says that Postgres is away, not ready or overloaded, rather than that it answered. */
export function isOutage(error: unknown): boolean {
  return classifyFailure(error) === 'hold';
}
