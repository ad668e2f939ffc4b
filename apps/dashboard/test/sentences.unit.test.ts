import { describe, expect, test } from 'vitest';
import { type FleetFacts, backText, fleetSentence, outageText } from '../src/sentences.ts';
import { viewer } from '../src/format.ts';
import { zone } from '../src/times.ts';

viewer.locale = 'en-GB';
zone.value = 'Europe/Berlin';
const now = Date.parse('2026-11-21T13:32:10Z');
const since = Date.parse('2026-11-21T13:11:20Z');
const all = { total: 1_248, online: 1_248, stale: 0, offline: 0 };
const queue = { readings: 70_740, oldestMs: 79_000, netPerSecond: -644, drainMs: 110_000, holding: 0 };
const balanced = { state: 'balanced', missing: 0 } as const;

describe('the sentence of the fleet, by what matters first', () => {
  test.each<[string, FleetFacts, string, string]>([
    [
      'readings cannot be accepted',
      { now, devices: all, broker: { state: 'down', downSince: since }, database: { state: 'down' }, queue },
      'crit',
      'No reading is accepted since 14:11:20 (20 min 50 s): RabbitMQ does not confirm. Devices keep theirs and send again.',
    ],
    [
      'readings are missing',
      { now, devices: all, accounts: { state: 'unbalanced', missing: 3 }, queue },
      'crit',
      '3 readings of the last hour are missing.',
    ],
    [
      'nothing is written',
      { now, devices: all, database: { state: 'down', downSince: since }, queue: { ...queue, netPerSecond: 896 } },
      'crit',
      'Readings are accepted but not stored since 14:11:20 (20 min 50 s).',
    ],
    [
      'the backlog grows',
      { now, devices: all, queue: { ...queue, netPerSecond: 286, drainMs: undefined, fullInMs: 11_400_000 } },
      'warn',
      'All 1,248 devices are online. History is 1 min 19 s behind and falls further behind; the queue is full in about 3 h.',
    ],
    [
      'the backlog shrinks',
      {
        now,
        devices: { total: 1_248, online: 1_209, stale: 23, offline: 16 },
        queue,
        accounts: { state: 'settling', missing: 0 },
      },
      'warn',
      '1,209 of 1,248 devices are online. History is 1 min 19 s behind and catches up in about 2 min.',
    ],
    [
      'dead letters arrive',
      { now, devices: all, deadLetters: { open: 2_169, groups: 3, newestAt: now - 2_000 }, delayMs: 400 },
      'warn',
      'All 1,248 devices are online. 2,169 readings could not be stored, and new ones keep arriving.',
    ],
    [
      'devices are silent',
      { now, devices: { total: 10, online: 7, stale: 2, offline: 1 }, delayMs: 400 },
      'warn',
      '7 of 10 devices are online. 2 devices are silent for longer than usual.',
    ],
    [
      'devices are offline',
      { now, devices: { total: 10, online: 9, stale: 0, offline: 1 } },
      'none',
      '9 of 10 devices are online.',
    ],
    [
      'all is well',
      { now, devices: all, delayMs: 400, accounts: balanced },
      'ok',
      'All 1,248 devices are online and every reading is stored within 0.4 s.',
    ],
    [
      'there is no device',
      { now, devices: { total: 0, online: 0, stale: 0, offline: 0 } },
      'none',
      'No device has sent a reading yet.',
    ],
    [
      'all is well with one device',
      { now, devices: { total: 1, online: 1, stale: 0, offline: 0 }, delayMs: 400 },
      'ok',
      'The one device is online and every reading is stored within 0.4 s.',
    ],
    [
      'the backlog shrinks with one device',
      { now, devices: { total: 1, online: 1, stale: 0, offline: 0 }, queue },
      'warn',
      'The one device is online. History is 1 min 19 s behind and catches up in about 2 min.',
    ],
    [
      'the report is unbalanced by a surplus alone',
      { now, devices: all, delayMs: 400, accounts: { state: 'unbalanced', missing: 0 } },
      'ok',
      'All 1,248 devices are online and every reading is stored within 0.4 s.',
    ],
    ['nothing is known yet', { now }, 'none', 'Fleet'],
  ])('%s', (_what, facts, tone, text) => {
    const sentence = fleetSentence(facts);
    expect({ tone: sentence.tone, text: sentence.text.replaceAll('\u00a0', ' ') }).toEqual({ tone, text });
  });

  test('nothing is called complete that no answer supports', () => {
    expect(fleetSentence({ now, devices: all, delayMs: 400 }).detail).not.toMatch(/missing/);
    expect(
      fleetSentence({ now, devices: all, queue, accounts: { state: 'incomplete', missing: 0 } }).detail,
    ).not.toMatch(/missing/);
    expect(fleetSentence({ now, devices: all, queue, accounts: balanced }).detail).toMatch(/Nothing is missing/);
    const unbalanced = { state: 'unbalanced', missing: 0 } as const;
    for (const facts of [
      { now, devices: all, delayMs: 400, accounts: unbalanced },
      { now, devices: all, queue, accounts: unbalanced },
      { now, devices: { total: 10, online: 9, stale: 0, offline: 1 }, accounts: unbalanced },
    ]) {
      const { text, detail } = fleetSentence(facts);
      expect(`${text} ${detail}`).not.toMatch(/missing/i);
    }
  });

  test('has no exclamation mark', () => {
    expect(fleetSentence({ now, devices: all, broker: { state: 'down' } }).text).not.toMatch(/!/);
  });
});

describe('an outage says what does not answer, since when, and what goes on', () => {
  const plain = (outage: Parameters<typeof outageText>[0]) => {
    const said = outageText(outage);
    return said && `${said.what} ${said.rest}`.replaceAll('\u00a0', ' ');
  };
  const live = { since: now - 12_000, retryMs: 4_200 };
  test.each([
    [
      'of the live connection',
      { live, api: undefined, now },
      'The live connection was lost 12 s ago, at 14:31:58. Trying again in 4 s. History, search and dead letters still work; live values below are the last ones received.',
    ],
    [
      'of the API',
      { live: undefined, api: { since }, now },
      'The API does not answer since 14:11:20 (20 min 50 s). Presence and live values go on; history, figures and dead letters below are the last ones received. They are asked for again by themselves.',
    ],
    [
      'of both',
      { live, api: { since }, now },
      'The live connection was lost 12 s ago, at 14:31:58. Trying again in 4 s. The API does not answer either since 14:11:20 (20 min 50 s); everything below is what was received last.',
    ],
    ['of nothing', { live: undefined, api: undefined, now }, undefined],
  ])('%s', (_what, outage, text) => {
    expect(plain(outage)).toBe(text);
  });

  test('after it, nothing is called complete but where every subscription went on where it was', () => {
    const verdicts = ['reading', 'resumed', 'resumed-edge-ended', 'read-again', 'missing', 'present'] as const;
    const said = verdicts.filter((verdict) => /nothing is missing/.test(backText(verdict, 2_100, since)));
    expect(said).toEqual(['resumed']);
    expect(backText('resumed', 2_100, since).replaceAll('\u00a0', ' ')).toBe('Back after 2.1 s; nothing is missing.');
    expect(backText('read-again', 2_100, since)).toMatch(/history was read again/);
  });
});
