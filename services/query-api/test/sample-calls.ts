import { randomUUID } from 'node:crypto';

interface SampleCall {
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

const anyVersion = { 'if-match': '*' };
const metrics = '?metrics=temperature';
const decision = { reason: 'a test' };

/** What a call needs to be a valid one, by operation. */
const samples: Readonly<Record<string, SampleCall>> = {
  registerDevice: { body: { deviceId: 'pump-1' } },
  replaceDevice: { headers: anyVersion, body: { name: 'Pump 1' } },
  patchDevice: { headers: anyVersion, body: { name: 'Pump 1' } },
  retireDevice: { headers: anyVersion },
  setDeviceStatus: { headers: anyVersion, body: { status: 'active' } },
  addReading: { body: { metrics: { temperature: 1 } } },
  addReadings: { body: [{ ts: 0, metrics: { temperature: 1 } }] },
  sendCommand: { body: { command: 'blink' } },
  sendCommandToMany: { body: { target: '*', command: 'blink', confirm: true } },
  getDeviceSeries: { query: metrics },
  getSeries: { query: `${metrics}&pattern=*` },
  querySeries: { body: { pattern: '*', metrics: ['temperature'] } },
  getTop: { query: `${metrics}&agg=max` },
  getHistogram: { query: metrics },
  listReadingsOfFleet: { query: '?pattern=*' },
  createExport: { body: { pattern: '*', format: 'csv' } },
  findStored: { body: { runs: [{ deviceId: 'pump-1', epoch: 'boot-1', first: 0, last: 9 }] } },
  readLiveHistory: { body: { filter: { patterns: ['*'] }, since: 'now-1h' } },
  readLiveDevices: { body: { filter: { patterns: ['*'] } } },
  replayDeadLetters: { body: { confirm: true } },
  discardDeadLetters: { body: { ids: ['a'], ...decision } },
  restoreDeadLetters: { body: { ids: ['a'], ...decision } },
  discardDeadLetter: { body: decision },
  restoreDeadLetter: { body: decision },
  editDeadLetter: { body: { patch: { ts: 0 } } },
  acknowledgeLedger: { body: { from: 'now-2h', to: 'now-1h', ...decision } },
  mintToken: { body: { subject: 'pump-1', role: 'device' } },
  watchLive: { query: '?pattern=*' },
  watchLiveByBody: { body: { pattern: '*' } },
  sendPlainControl: { body: { target: 'pump-1', command: 'blink' } },
};

/** @param operation its id; the body of `signIn` is not among them */
export function sampleOf(operation: string): SampleCall {
  return samples[operation] ?? {};
}

/** @returns the path with an id that the operation accepts */
export function pathOf(template: string): string {
  return template.replace('{id}', template.includes('/exports/') ? randomUUID() : 'pump-1');
}
