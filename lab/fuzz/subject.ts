import type { Arbitrary } from 'fast-check';

/** What a fuzz run must not see. */
export interface Finding {
  /** Equal for findings that are taken for the same defect: only the first one is reported and minimised. */
  readonly signature: string;
  /** `GET /api/v1/devices answered 500: …` */
  readonly what: string;
  /** The input as it was sent. */
  readonly input: string;
}

/** One kind of input, and how it is sent. */
export interface Subject<Input> {
  readonly name: string;
  readonly inputs: Arbitrary<Input>;
  /** @returns how many inputs were sent (a socket gets several frames), and the first finding */
  run(input: Input): Promise<{ readonly sent: number; readonly finding?: Finding | undefined }>;
  close(): Promise<void> | void;
}

const inputCharactersMax = 600;

/** Bytes as text, on one line, for a report. */
export function shown(bytes: Buffer | string): string {
  const text = JSON.stringify(typeof bytes === 'string' ? bytes : bytes.toString('latin1'));
  return text.length <= inputCharactersMax
    ? text
    : `${text.slice(0, inputCharactersMax)}… (${bytes.length} bytes in all)`;
}
