import { isoTime } from '../time-range.ts';
import { type Cell, type Encoder, type Table, TextWriter, timeFormatter, type Write } from './table.ts';

/** Some readers drop white space around a text that is not quoted. */
const quotedTexts = /^$|^\s|[",\r\n]|\s$/;

/** RFC 4180 with a header line. It has no end of its own: that of the HTTP answer says that it is complete. */
export function csvEncoder<Row>({ columns, cellsOf }: Table<Row>, write: Write): Encoder<Row> {
  const out = new TextWriter(write);
  const formatTime = timeFormatter();
  const cell = (value: Cell, index: number): string => {
    if (value === undefined || value === null) return '';
    if (typeof value === 'number') return columns[index]!.type === 'time' ? formatTime(value) : String(value);
    return quoted(value);
  };
  out.add(`${columns.map(({ name }) => quoted(name)).join(',')}\r\n`);
  return {
    add: (row) => {
      for (const cells of cellsOf(row)) {
        let line = '';
        for (let index = 0; index < cells.length; index += 1)
          line += index === 0 ? cell(cells[0], 0) : `,${cell(cells[index], index)}`;
        out.add(`${line}\r\n`);
      }
    },
    end: () => out.flush(),
  };
}

/** An empty text is `""`, so that it differs from no value. */
function quoted(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return quotedTexts.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** One object a line; the last line is `{"end":…}`. */
export function ndjsonEncoder<Row>({ documentOf, completeUntil }: Table<Row>, write: Write): Encoder<Row> {
  const out = new TextWriter(write);
  return {
    add: (row) => out.add(`${JSON.stringify(documentOf(row))}\n`),
    end: (rows) => {
      out.add(`${JSON.stringify({ end: endOf(rows, completeUntil) })}\n`);
      out.flush();
    },
  };
}

/** `{"data":[…],"end":{…}}` */
export function jsonEncoder<Row>({ documentOf, completeUntil }: Table<Row>, write: Write): Encoder<Row> {
  const out = new TextWriter(write);
  let separator = '';
  out.add('{"data":[');
  return {
    add: (row) => {
      out.add(`${separator}${JSON.stringify(documentOf(row))}`);
      separator = ',\n';
    },
    end: (rows) => {
      out.add(`],"end":${JSON.stringify(endOf(rows, completeUntil))}}`);
      out.flush();
    },
  };
}

function endOf(count: number, completeUntil: number | null) {
  return { count, completeUntil: completeUntil === null ? null : isoTime(completeUntil) };
}
