import { expect, it } from 'vitest';
import { DeviceJournal } from '../device-journal.ts';
import { emptyStream, keyOf } from '../evidence.ts';
import { auditWatched } from '../watched.ts';

const device = { deviceId: 'd-1', epoch: 'boot' };

function audited(
  sent: readonly number[],
  {
    stored,
    replayed = [],
    repeated = 0,
  }: { stored: readonly number[]; replayed?: readonly number[]; repeated?: number },
) {
  const journal = new DeviceJournal(device.deviceId, device.epoch);
  for (let seq = 1; seq <= 10; seq += 1) journal.attempted(journal.enter('{}'));
  const stream = { ...emptyStream(device), stored: new Set(stored), replayed: new Set(replayed) };
  const evidence = { streams: [stream], deadLetters: [], namelessDeadLetters: 0, contentsCompared: 0, altered: [] };
  const ledger = { received: new Map([[keyOf(device), new Set(sent)]]), repeated };
  return auditWatched([ledger], evidence, [journal]).map(({ rule, readings }) => `${rule}: ${readings}`);
}

it('finds no breach where a subscriber was sent all that is stored, but for replayed dead letters', () => {
  expect(audited([1, 2, 3], { stored: [1, 2] })).toEqual([]);
  expect(audited([1], { stored: [1, 2], replayed: [2] })).toEqual([]);
});

it('names what a subscriber misses, what was never sent by a device, and what came again', () => {
  expect(audited([1], { stored: [1, 2, 3] })).toEqual(['stored, but not sent to subscriber 1: 2']);
  expect(audited([1, 11], { stored: [1] })).toEqual(['sent to subscriber 1, but never attempted: 1']);
  expect(audited([1], { stored: [1], repeated: 4 })).toEqual([
    'sent to subscriber 1 again by the same subscription: 4',
  ]);
});
