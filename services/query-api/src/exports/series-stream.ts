import type { Caller } from '../caller.ts';
import type { ApiContext } from '../route.ts';
import { askSeries, type Call } from '../series/ask.ts';
import type { Question } from '../series/question.ts';
import { ExportStream } from './export-stream.ts';
import type { Format } from './formats.ts';
import { type SeriesRows, seriesTable } from './series-table.ts';

/** The answer to a question as rows in this format; as JSON it is the usual answer. */
export async function answerSeries(
  question: Question,
  call: Call & { readonly caller: Caller; readonly format: Format | undefined },
  api: ApiContext,
) {
  const { format, caller } = call;
  if (format === undefined || format.name === 'json') return askSeries(question, call, api);
  // Errors of the question are answered as such: nothing has been sent yet.
  return new ExportStream(format, caller, api.exportStreams, async () =>
    seriesTable((await askSeries({ ...question, layout: 'rows' }, call, api)) as unknown as SeriesRows),
  ) as never;
}
