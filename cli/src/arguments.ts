import { text as readAll } from 'node:stream/consumers';
import { InvalidArgumentError } from 'commander';

/** A whole number from 1. */
export function positiveInteger(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

export function positiveNumber(text: string): number {
  if (Number(text) > 0) return Number(text);
  throw new InvalidArgumentError('It must be a number above 0.');
}

export function jsonValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidArgumentError('It must be JSON.');
  }
}

export function jsonObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // The error below covers it.
  }
  throw new InvalidArgumentError('It must be a JSON object.');
}

/** Reads all of standard input, which `-` stands for, as JSON. */
export async function jsonFromInput(): Promise<unknown> {
  const text = await readAll(process.stdin);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`standard input is not JSON: ${(error as Error).message}`, { cause: error });
  }
}
