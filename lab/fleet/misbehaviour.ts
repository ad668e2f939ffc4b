import type { Random } from './random.ts';

/** Invalid readings with a valid number: the server refuses them by number, and accepts the other readings of the frame. */
const badReadings: readonly ((now: number) => string)[] = [
  (now) => `{"ts":${now},"metrics":{"temperature":null}}`,
  (now) => `{"ts":${now},"metrics":{}}`,
  (now) => `{"ts":${now},"metrics":{"__proto__":1}}`,
  () => '{"ts":0,"metrics":{"temperature":21}}',
  () => '{"ts":"yesterday","metrics":{"temperature":21}}',
];

/** Invalid frames without a readable number: the server answers each with one error. */
const badFrames: readonly (string | Buffer)[] = [
  '{"type":"telemetry","ts":17',
  '{"type":"telemetri"}',
  '{"type":"telemetry","metrics":[21]}',
  Buffer.from([0xde, 0xad, 0xbe, 0xef]),
];

export function badReading(random: Random, now: number): string {
  return pick(badReadings, random)(now);
}

export function badFrame(random: Random): string | Buffer {
  return pick(badFrames, random);
}

function pick<T>(list: readonly T[], random: Random): T {
  return list[Math.floor(random() * list.length)]!;
}
