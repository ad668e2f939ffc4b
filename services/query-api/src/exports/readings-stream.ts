import Type from 'typebox';
import type { Caller } from '../caller.ts';
import type { StreamedAnswer } from '../line-stream.ts';
import type { ApiContext } from '../route.ts';
import { ExportStream } from './export-stream.ts';
import { type Format, FormatParameter } from './formats.ts';
import { layouts, openReadingsTable, type ReadingsExport } from './readings-table.ts';

/** Parameters of the streams, beside those of the pages. */
export const streamParameters = {
  format: Type.Optional(FormatParameter),
  layout: Type.Optional(
    Type.Enum([...layouts], {
      description:
        'Of csv, parquet and arrow: `wide`, if left out, has a column for each metric, `long` a row for each value',
    }),
  ),
};

export const acceptHeader = {
  accept: Type.Optional(Type.String({ description: 'The media type of a stream, where `format` is left out' })),
};

/** The answer with all readings. */
export function exportReadings(
  { format, caller, ...wanted }: ReadingsExport & { readonly format: Format; readonly caller: Caller },
  { exports, exportStreams }: Pick<ApiContext, 'exports' | 'exportStreams'>,
): StreamedAnswer {
  return new ExportStream(format, caller, exportStreams, (signal) =>
    exports.run(openReadingsTable, { ...wanted, format, signal }),
  );
}
