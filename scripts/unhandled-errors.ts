import { appendFileSync } from 'node:fs';
import type { Reporter } from 'vitest/node';

/** Writes what vitest's JSON report leaves out, the errors outside all tests and files, to the file that UNHANDLED_ERRORS_FILE names. */
export default class UnhandledErrors implements Reporter {
  onTestRunEnd(_files: unknown, errors: readonly { readonly message: string }[]): void {
    const file = process.env['UNHANDLED_ERRORS_FILE'];
    if (file !== undefined) appendFileSync(file, errors.map(({ message }) => `${message}\n`).join(''));
  }
}
