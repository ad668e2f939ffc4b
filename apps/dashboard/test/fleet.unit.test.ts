import { describe, expect, test } from 'vitest';
import { viewer } from '../src/format.ts';
import { zone } from '../src/times.ts';
import { attentionList } from '../src/views/fleet/attention.ts';
import { cellPath, layoutCells } from '../src/views/fleet/cells-layout.ts';
import { deviceQuestion, firstQuery } from '../src/device-question.ts';
import { type DeviceRow, asName, matches, noteOf, rowOf, sorted, tagKeys } from '../src/views/fleet/device-rows.ts';
import { sparkPath } from '../src/views/fleet/spark-path.ts';

viewer.locale = 'en-GB';
zone.value = 'Europe/Berlin';
const now = Date.parse('2026-11-21T13:32:10Z');

function row(deviceId: string, changes: Partial<DeviceRow> = {}): DeviceRow {
  return {
    deviceId,
    name: '',
    type: 'freezer',
    tags: ['depot:lyon-est'],
    state: 'online',
    reason: '',
    since: now - 60_000,
    expectedIntervalMs: 5_000,
    lastSeenAt: now - 1_000,
    aheadMs: 0,
    perSecond: 0.2,
    share: 1,
    missing: 0,
    deadLetters: 0,
    ...changes,
  };
}
const plain = (text: string) => text.replaceAll('\u00a0', ' ');

describe('a row', () => {
  test('joins what the live socket and the API say of a device', () => {
    const made = rowOf(
      {
        deviceId: 'a',
        registration: {
          name: 'A',
          type: 'truck',
          status: 'active',
          tags: ['x'],
          metadata: {},
          expectedIntervalMs: 1_000,
        },
        presence: { status: 'stale', reason: 'silent', since: '2026-11-21T13:00:00Z' },
      },
      {
        listed: new Map([['a', { deviceId: 'a', lastSeenAt: '2026-11-21T13:00:00Z', lastTs: '2026-11-21T13:06:12Z' }]]),
        day: new Map(),
        hour: new Map(),
      },
    );
    expect(made).toMatchObject({
      name: 'A',
      state: 'stale',
      aheadMs: 372_000,
      lastSeenAt: Date.parse('2026-11-21T13:00:00Z'),
      share: undefined,
    });
  });

  test.each<[Partial<DeviceRow>, string, boolean]>([
    [{ state: 'stale' }, 'silent, usually every 5 s', true],
    [{ state: 'offline', reason: 'edge-lost' }, 'edge lost', false],
    [{ state: 'never seen' }, 'has not connected yet', false],
    [{ deadLetters: 64, missing: 3 }, '64 dead letters', true],
    [{ missing: 188 }, 'gap: 188 missing', true],
    [{ aheadMs: 372_000 }, 'clock 6 min 12 s ahead', true],
    [{}, '', false],
  ])('%o has the note "%s"', (changes, text, isWarning) => {
    const note = noteOf(row('a', changes));
    expect({ text: plain(note.text), isWarning: note.isWarning }).toEqual({ text, isWarning });
  });

  test.each([
    [{ text: 'LYON' }, true],
    [{ text: 'hamburg' }, false],
    [{ type: 'truck' }, false],
    [{ tags: ['depot:lyon-est'] }, true],
    [{ tags: ['depot:lyon-est', 'x'] }, false],
    [{ presence: 'online' }, true],
    [{ presence: 'attention' }, false],
  ])('the filter %o', (filter, isShown) => {
    expect(matches(row('a'), { text: '', type: '', tags: [], presence: '', ...filter })).toBe(isShown);
  });
});

test('the order by state puts first what needs attention; ties are by id', () => {
  const rows = [
    row('e'),
    row('d', { missing: 1 }),
    row('c', { state: 'offline' }),
    row('b', { state: 'stale' }),
    row('a', { state: 'stale' }),
  ];
  expect(sorted(rows, { column: 'state', descending: false }, 'depot').map(({ deviceId }) => deviceId)).toEqual([
    'a',
    'b',
    'c',
    'd',
    'e',
  ]);
});

test('what needs attention is a line for each cause, never for each device', () => {
  const rows = [
    ...Array.from({ length: 14 }, (_, index) => row(`frz-${index}`, { state: 'stale', lastSeenAt: now - 23 * 60_000 })),
    row('frz-99', { state: 'stale', tags: ['depot:porto'] }),
    row('truck-1', { missing: 1_912 }),
    row('truck-2', { missing: 88 }),
    row('truck-3', { aheadMs: 372_000 }),
    row('truck-0702', { state: 'offline', since: now - 76 * 3_600_000 }),
    row('truck-0703', { state: 'offline' }),
  ];
  const list = attentionList({
    rows,
    groupKey: 'depot',
    now,
    behindMs: 79_000,
    drainMs: 110_000,
    deadLetters: { open: 2_169, groups: 3, newestAt: now - 2_000 },
    silentEdges: [{ instanceId: 'ingest-3', lastReportedAt: '2026-11-21T13:11:22Z' }],
    missing: { readings: 0, acknowledged: 0 },
  });
  expect(list.map(({ mark, text, note, href }) => [mark, plain(text), plain(note), href])).toEqual([
    [
      'warn',
      '14 freezers at Lyon-Est are silent',
      '23 min · stale',
      '/?presence=stale&type=freezer&tag=depot%3Alyon-est',
    ],
    ['warn', 'frz-99 at Porto is silent', '1.0 s · stale'.replace('1.0', '1'), '/devices/frz-99'],
    ['warn', '2,169 open dead letters', '3 groups · 2 s ago', '/dead-letters'],
    ['warn', 'History is 1 min 19 s behind', 'drains in 1 min 50 s', '/pipeline'],
    ['warn', 'ingest-3 ended without last report', '14:11:22', '/pipeline'],
    ['warn', '2 devices have gaps: 2,000 missing', '24 h', '/?presence=attention'],
    ['warn', '1 clock ahead, up to 6 min 12 s', 'newest reading', '/devices/truck-3'],
    ['off', '2 devices offline, truck-0702 longest', '3 d 4 h', '/?presence=offline'],
  ]);
});

test('missing readings come first, and those that an operator has acknowledged not at all', () => {
  const facts = { rows: [], groupKey: undefined, now };
  expect(attentionList({ ...facts, missing: { readings: 3, acknowledged: 0 } })).toMatchObject([
    { mark: 'crit', text: '3 readings missing' },
  ]);
  expect(attentionList({ ...facts, missing: { readings: 3, acknowledged: 3 } })).toEqual([]);
});

describe('presence cells', () => {
  const rows = [
    ...Array.from({ length: 9 }, (_, index) => row(`t${index}`, { type: 'truck' })),
    row('f1', { state: 'stale' }),
    row('p1', { type: 'truck', tags: ['depot:porto'] }),
  ];

  test('stand in pairs, the largest group first, and each type begins at the same place in all groups', () => {
    const { groups, types } = layoutCells(rows, 'depot', 690);
    expect(groups.map(({ name, total, stale }) => [name, total, stale])).toEqual([
      ['Lyon-Est', 10, 1],
      ['Porto', 1, 0],
    ]);
    expect(types).toEqual(['truck', 'freezer']);
    const xOf = (id: string) => groups.flatMap(({ cells }) => cells).find((cell) => cell.row.deviceId === id)!.x;
    expect(xOf('t0')).toBe(xOf('t1'));
    expect(xOf('p1')).toBe(xOf('t0'));
    expect(xOf('f1')).toBeGreaterThan(xOf('t8'));
  });

  test('fit into the width for 5,000 devices', () => {
    const many = Array.from({ length: 5_000 }, (_, index) => row(`d${index}`, { tags: [`depot:d${index % 9}`] }));
    const { groups, stepPx } = layoutCells(many, 'depot', 690);
    expect(Math.max(...groups.flatMap(({ cells }) => cells.map(({ x }) => x + stepPx)))).toBeLessThanOrEqual(690 - 80);
  });

  test('of one state are one path', () => {
    expect(cellPath([{ x: 98, y: 0, row: row('a') }], 6.5, 'square')).toBe('M98 0h5.2v5.2h-5.2z');
  });
});

test('tags with a key are groups; names of groups are written as names', () => {
  expect(tagKeys([row('a', { tags: ['depot:x', 'plain'] }), row('b', { tags: ['depot:y', 'firmware:1'] })])).toEqual([
    'depot',
    'firmware',
  ]);
  expect(asName('lyon-est')).toBe('Lyon-Est');
});

test('a sparkline breaks where there is no reading, and ends at the newest one', () => {
  expect(sparkPath([1, 2, null, 3, null], 132, 22)).toEqual({ line: 'M0 19L32 11M96 3', end: { x: 96, y: 3 } });
  expect(sparkPath([null, null], 132, 22)).toEqual({ line: '', end: undefined });
});

describe('the first rows, before all devices are there', () => {
  test.each([
    ['', { sort: 'presence' }],
    ['q= pump &sort=-device', { q: 'pump', sort: '-deviceId' }],
    [
      'type=truck&tag=depot:wien,line:2&sort=last',
      { type: 'truck', tag: ['depot:wien', 'line:2'], sort: 'lastSeenAt' },
    ],
    ['presence=stale&sort=-state', { presence: 'stale', sort: '-presence' }],
    // What the API has no filter or order for is left to the table.
    ['presence=attention&sort=-complete', { sort: 'presence' }],
  ])('of the view %s are asked for by %j', (address, question) => {
    expect(firstQuery(deviceQuestion(Object.fromEntries(new URLSearchParams(address))))).toEqual(question);
  });
});
