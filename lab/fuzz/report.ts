import type { FuzzReport } from './fuzz.ts';
import type { Latency } from './latency.ts';

export function reportText({ seed, inputs, seconds, answers, neighbour, audit, failures }: FuzzReport): string {
  const groups = [...answers].toSorted(([a], [b]) => a.localeCompare(b));
  const width = Math.max(12, ...groups.map(([name]) => name.length)) + 2;
  return [
    `seed ${seed}: ${inputs} inputs in ${seconds.toFixed(0)} s, ${Math.round(inputs / seconds)} inputs/s`,
    '',
    `${'Group'.padEnd(width)}Answers by class`,
    ...groups.map(([name, classes]) => `${name.padEnd(width)}${counts(classes)}`),
    '',
    'Quiet neighbour: time from reading to ack',
    `  before the inputs  ${latencyText(neighbour.quiet)}`,
    `  during the inputs  ${latencyText(neighbour.fuzzed)}`,
    '',
    `Acknowledged readings: ${audit.acked}, of which ${audit.lostReadings} in no table, ${audit.deadLettered} in the dead-letter store only`,
    '',
    ...(failures.length === 0 ? ['No failure.'] : [`${failures.length} failures:`, ...failures.map(failureText)]),
  ].join('\n');
}

function counts(classes: ReadonlyMap<string, number>): string {
  return [...classes]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, count]) => `${name}: ${count}`)
    .join('  ');
}

function latencyText(latency: Latency | undefined): string {
  if (latency === undefined) return 'no ack';
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  return `p50 ${ms(latency.p50)}, p99 ${ms(latency.p99)}, max ${ms(latency.max)} (${latency.samples} readings)`;
}

function failureText({ what, input, subject, seed, path }: FuzzReport['failures'][number]): string {
  if (subject === undefined) return `\n- ${what}`;
  return `\n- ${what}\n  again: npm run fuzz -- --only ${subject} --seed ${seed} --path ${path}\n  input:\n${indented(input ?? '')}`;
}

function indented(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}
