import { pino, type DestinationStream, type Logger } from 'pino';

export type { Logger };

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LoggerOptions {
  readonly name: string;
  readonly level?: LogLevel;
  /** `json` is one object per line; `pretty` is readable text for a terminal. */
  readonly format?: 'json' | 'pretty';
  readonly destination?: DestinationStream;
}

/**
 * A pino logger that carries the service's name. Writes are synchronous, so that the last line before an exit is written.
 * Fields named like credentials are masked, and passwords in URLs and JSON web tokens are masked in every line.
 */
export async function createLogger({
  name,
  level = 'info',
  format = 'json',
  destination,
}: LoggerOptions): Promise<Logger> {
  return pino(
    {
      name,
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: credentialPaths, censor: '***' },
      hooks: { streamWrite: scrub },
    },
    destination ?? (format === 'pretty' ? await prettyStream() : pino.destination({ dest: 1, sync: true })),
  );
}

const credentialNames = [
  'authorization',
  'cookie',
  'token',
  'password',
  'secret',
  'privateJwks',
  '["sec-websocket-protocol"]',
];
const credentialPaths = credentialNames.flatMap((name) => {
  const step = name.startsWith('[') ? name : `.${name}`;
  return [name, `*${step}`, `req.headers${step}`];
});

async function prettyStream(): Promise<DestinationStream> {
  const { default: pretty } = await import('pino-pretty');
  return pretty({ sync: true, ignore: 'pid,name', messageFormat: '{name}: {msg}' });
}

const urlPassword = /(:\/\/[^:@/\s"]*:)[^@/\s"]+@/g;
const jsonWebToken = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g;

/** Masks passwords in URLs and JSON web tokens, anywhere in the text. */
export function scrub(text: string): string {
  return text.replace(urlPassword, '$1***@').replace(jsonWebToken, '***');
}
