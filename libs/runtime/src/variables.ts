/** One environment variable: its name, its allowed values and its meaning. */
export interface Variable<T> {
  readonly name: string;
  readonly doc: string;
  readonly allowed: string;
  readonly unit?: string;
  readonly fallback?: T;
  readonly required: boolean;
  /** Its value is never logged or shown. */
  readonly secret: boolean;
  /** `NAME_FILE` may name a file that contains the value. */
  readonly fromFile: boolean;
  /** `undefined` when the text is invalid. */
  readonly parse: (text: string) => T | undefined;
}

interface Common<T> {
  readonly doc: string;
  readonly default?: T;
}

export function string(name: string, options: Common<string>): Variable<string> {
  return variable(name, options, 'text', (text) => text);
}

/** @param options.protocols accepted schemes without the colon, such as `['postgres', 'postgresql']` */
export function url(
  name: string,
  options: Common<string> & { readonly protocols: readonly string[] },
): Variable<string> {
  const allowed = options.protocols.map((protocol) => `${protocol}://…`).join(' or ');
  return variable(name, options, allowed, (text) => {
    const parsed = URL.canParse(text) ? new URL(text) : undefined;
    return parsed && options.protocols.includes(parsed.protocol.slice(0, -1)) ? text : undefined;
  });
}

/** Several URLs, separated by commas. */
export function urls(
  name: string,
  options: Common<readonly string[]> & { readonly protocols: readonly string[] },
): Variable<readonly string[]> {
  const { protocols, doc } = options;
  const one = url(name, { protocols, doc });
  return variable(name, options, `${one.allowed}, separated by commas`, (text) => {
    const parsed = text.split(',').map((part) => one.parse(part.trim()));
    return parsed.every((part) => part !== undefined) ? parsed : undefined;
  });
}

export function integer(
  name: string,
  options: Common<number> & { readonly min: number; readonly max: number; readonly unit?: string },
): Variable<number> {
  const { min, max, unit } = options;
  const read = variable(name, options, `a whole number from ${min} to ${max}`, (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? value : undefined;
  });
  return unit === undefined ? read : { ...read, unit };
}

/** A TCP port; with 0 the operating system picks a free one. */
export function port(name: string, options: Common<number>): Variable<number> {
  return integer(name, { ...options, min: 0, max: 65_535 });
}

export function choice<const T extends string>(
  name: string,
  choices: readonly T[],
  options: Common<NoInfer<T>>,
): Variable<T> {
  return variable(name, options, choices.join(' | '), (text) => choices.find((one) => one === text));
}

/** May be missing; the value is then `undefined`. */
export function optional<T>(read: Variable<T>): Variable<T | undefined> {
  return { ...read, required: false };
}

/** Never shown in a problem, and may be read from the file that `NAME_FILE` names. */
export function secret<T>(read: Variable<T>): Variable<T> {
  return { ...read, secret: true, fromFile: true };
}

function variable<T>(
  name: string,
  options: Common<T>,
  allowed: string,
  parse: (text: string) => T | undefined,
): Variable<T> {
  const base = { name, doc: options.doc, allowed, secret: false, fromFile: false, parse };
  return options.default === undefined
    ? { ...base, required: true }
    : { ...base, required: false, fallback: options.default };
}
