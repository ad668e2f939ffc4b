import { type Question, changed, listOf } from './question.ts';

/** Questions that are often next, about the same metrics and devices. */
export function otherQuestions(question: Question): { readonly text: string; readonly question: Question }[] {
  const metric = listOf(question.metrics).join(', ');
  return [
    {
      text: `${metric} against the week before`,
      question: changed(question, {
        from: 'now-24h',
        to: 'now',
        interval: '15m',
        groupBy: 'none',
        offset: '7d',
        agg: 'avg',
      }),
    },
    {
      text: `Average, least and greatest of each day`,
      question: changed(question, {
        from: 'now-30d',
        to: 'now',
        interval: '1d',
        agg: 'avg,min,max',
        groupBy: 'none',
        offset: undefined,
      }),
    },
    {
      text: 'Values of each device and hour',
      question: changed(question, {
        from: 'now-24h',
        to: 'now',
        interval: '1h',
        agg: 'count',
        groupBy: 'device',
        offset: undefined,
      }),
    },
  ];
}
