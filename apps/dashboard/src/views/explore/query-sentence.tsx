import { plural } from '../../format.ts';
import type { SeriesAnswer } from './answer.ts';
import type { Vocabulary } from './vocabulary.ts';
import {
  type Question,
  type QuestionName,
  changed,
  devicesText,
  groupText,
  lengthText,
  listOf,
  tagText,
} from './question.ts';
import { type Option, Token } from './token.tsx';

const aggregates: readonly (readonly [string, string])[] = [
  ['avg', 'average'],
  ['min', 'least'],
  ['max', 'greatest'],
  ['p50', 'median'],
  ['p95', '95 of 100 are below'],
  ['p99', '99 of 100 are below'],
  ['count', 'number of values'],
  ['sum', 'sum'],
  ['first', 'first of each bucket'],
  ['last', 'last of each bucket'],
  ['stddev', 'standard deviation'],
  ['twavg', 'average over time'],
  ['delta', 'difference to the bucket before'],
  ['increase', 'growth of a counter'],
  ['rate', 'growth in a second'],
  ['distinct', 'different values'],
];
const intervals = ['10s', '1m', '5m', '15m', '1h', '6h', '1d', '1w', '1mo'];
const starts: readonly (readonly [string, string])[] = [
  ['now-15m', '15 minutes ago'],
  ['now-1h', 'an hour ago'],
  ['now-6h', '6 hours ago'],
  ['now-24h', 'a day ago'],
  ['now/d', 'midnight'],
  ['now-7d', 'a week ago'],
  ['now-30d', '30 days ago'],
  ['now-90d', '90 days ago'],
];
const ends: readonly (readonly [string, string])[] = [
  ['now', ''],
  ['now-1h', 'an hour ago'],
  ['now/d', 'midnight'],
  ['now-1d', 'a day ago'],
  ['now-7d', 'a week ago'],
];
const offsets: readonly (readonly [string, string])[] = [
  ['', 'nothing'],
  ['1h', 'an hour before'],
  ['1d', 'a day before'],
  ['7d', 'a week before'],
  ['1mo', 'a month before'],
];

const options = (list: readonly (readonly [string, string])[]): Option[] =>
  list.map(([value, hint]) => ({ value, label: value, ...(hint !== '' && { hint }) }));

/** The length that the API chose for a chart. */
function fittingText(chosen: string | null | undefined): string {
  return chosen === null || chosen === undefined ? 'length that fits' : `${lengthText(chosen)} (fits)`;
}

/** The question as a sentence whose words can be changed; it reads as the label of the form. */
export function QuerySentence({
  question,
  answered,
  words,
  onChange,
}: {
  readonly question: Question;
  /** The answer to this very question. */
  readonly answered: SeriesAnswer | undefined;
  readonly words: Vocabulary;
  readonly onChange: (question: Question) => void;
}) {
  const set = (changes: Partial<Record<QuestionName, string | undefined>>) => onChange(changed(question, changes));
  const { tag, type, where, offset, interval, groupBy = 'device' } = question;
  const metrics = listOf(question.metrics);
  const named = listOf(question.devices);
  return (
    <p class="sentence">
      Show{' '}
      <Token
        label="Aggregates"
        text={listOf(question.agg).join(', ')}
        options={options(aggregates)}
        chosen={listOf(question.agg)}
        isMultiple
        placeholder="p99.9, or choose"
        onChange={(values) => set({ agg: values.length === 0 ? 'avg' : values.join(',') })}
      />{' '}
      of{' '}
      <Token
        label="Metrics"
        text={metrics.length > 3 ? plural(metrics.length, 'metric') : metrics.join(', ') || 'a metric'}
        options={words.metrics.map((value) => ({ value, label: value }))}
        chosen={metrics}
        isMultiple
        onChange={(values) => set({ metrics: values.join(',') })}
      />{' '}
      of{' '}
      <Token
        label="Devices"
        text={devicesText(question, answered?.covers.devices)}
        options={[
          { value: '*', label: '*', hint: 'all devices' },
          ...words.devices.map((value) => ({ value, label: value })),
        ]}
        chosen={named.length > 0 ? named : [question.pattern ?? '*']}
        placeholder="press-* or an id"
        onChange={([value]) =>
          set(
            value !== undefined && /[*?]/.test(value)
              ? { pattern: value, devices: undefined }
              : { devices: value, pattern: undefined },
          )
        }
      />{' '}
      {(tag !== undefined || type !== undefined) && 'where '}
      <Token
        label="Tag"
        text={tag === undefined ? 'tag' : tagText(tag)}
        isEmpty={tag === undefined}
        options={[
          { value: '', label: 'any tag' },
          ...words.tags.map((value) => ({ value, label: tagText(value), hint: value })),
        ]}
        chosen={tag === undefined ? [] : [tag]}
        placeholder="site:north"
        onChange={([value]) => set({ tag: value })}
      />{' '}
      {tag !== undefined && type !== undefined && 'and '}
      <Token
        label="Type of device"
        text={type === undefined ? 'type' : `type = ${type}`}
        isEmpty={type === undefined}
        options={[{ value: '', label: 'any type' }, ...words.types.map((value) => ({ value, label: value }))]}
        chosen={type === undefined ? [] : [type]}
        onChange={([value]) => set({ type: value })}
      />{' '}
      {where !== undefined && 'while '}
      <Token
        label="Only readings with"
        text={where ?? 'condition'}
        isEmpty={where === undefined}
        options={[
          { value: '', label: 'all readings' },
          ...(where === undefined ? [] : [{ value: where, label: where }]),
        ]}
        chosen={where === undefined ? [] : [where]}
        placeholder="speed>0"
        onChange={([value]) => set({ where: value })}
      />{' '}
      by{' '}
      <Token
        label="A line for each"
        text={groupText(groupBy)}
        options={[
          { value: 'device', label: 'device' },
          { value: 'type', label: 'type' },
          ...words.tagKeys.map((key) => ({ value: `tag:${key}`, label: key, hint: 'tag' })),
          { value: 'none', label: 'nothing (one line)' },
        ]}
        chosen={[groupBy]}
        placeholder="tag:site, or choose"
        onChange={([value]) => set({ groupBy: value })}
      />
      <br class="no-phone" /> every{' '}
      <Token
        label="Length of a bucket"
        text={interval === undefined ? fittingText(answered?.interval) : lengthText(interval)}
        options={[
          { value: '', label: 'as fits the chart', hint: `at most ${question.maxPoints ?? 300} buckets` },
          ...intervals.map((value) => ({ value, label: lengthText(value), hint: value })),
        ]}
        chosen={[interval ?? '']}
        placeholder="30s, 2h, 1d"
        onChange={([value]) => set({ interval: value })}
      />{' '}
      from{' '}
      <Token
        label="From"
        text={question.from ?? 'now-24h'}
        options={options(starts)}
        chosen={[question.from ?? 'now-24h']}
        placeholder="now-6h or 2026-11-21"
        onChange={([value]) => set({ from: value })}
      />{' '}
      to{' '}
      <Token
        label="To"
        text={question.to ?? 'now'}
        options={options(ends)}
        chosen={[question.to ?? 'now']}
        placeholder="now or 2026-11-22"
        onChange={([value]) => set({ to: value })}
      />{' '}
      compared with{' '}
      <Token
        label="Compared with"
        text={offset === undefined ? 'nothing' : `${lengthText(offset)} before`}
        options={offsets.map(([value, label]) => ({ value, label, ...(value !== '' && { hint: value }) }))}
        chosen={[offset ?? '']}
        placeholder="7d, 1mo"
        onChange={([value]) => set({ offset: value })}
      />
    </p>
  );
}
