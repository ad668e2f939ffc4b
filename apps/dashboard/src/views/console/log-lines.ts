import { duration, metricValue, plural } from '../../format.ts';

/** What a line is about; the chips of the page select by it. */
export type Kind = 'data' | 'presence' | 'control' | 'settled' | 'other';
export type Direction = 'sent' | 'received';

/** A line of the log: a frame, or one reading of a frame that has many. */
export interface LogLine {
  readonly at: number;
  readonly direction: Direction;
  readonly kind: Kind;
  readonly type: string;
  readonly tone: 'none' | 'wire' | 'ok' | 'warn' | 'crit';
  readonly deviceId: string;
  readonly content: string;
  readonly seq: number | undefined;
  /** What it is in full. */
  readonly body: unknown;
}

/** When what is waited for was sent: of a reading by its stream and number, of a command by its id. */
export interface SentTimes {
  readonly reading: (deviceId: string, seq: number) => number | undefined;
  readonly command: (id: string) => number | undefined;
}

type Body = Readonly<Record<string, unknown>>;

/** The lines of a frame. Text that is not JSON is one line. */
export function linesOfFrame(direction: Direction, text: string, at: number, sent: SentTimes): LogLine[] {
  const body = parsed(text);
  const line = (more: Partial<LogLine>): LogLine => ({
    at,
    direction,
    kind: 'other',
    type: '',
    tone: direction === 'sent' ? 'wire' : 'none',
    deviceId: '',
    content: '',
    seq: undefined,
    body: body ?? text,
    ...more,
  });
  if (body === undefined) return [line({ type: 'text', content: text.slice(0, 200) })];
  const type = textOf(body['type']) || 'frame';
  const deviceId = textOf(body['deviceId']) || textOf(body['target']);
  const numbered = typeof body['seq'] === 'number' ? body['seq'] : undefined;
  switch (type) {
    case 'data_update':
      return (body['readings'] as readonly Body[]).map((reading) =>
        line({
          kind: 'data',
          type: 'data',
          deviceId: textOf(reading['deviceId']),
          seq: reading['seq'] as number,
          content: metricsText(reading['metrics'] as Body),
          body: reading,
        }),
      );
    case 'telemetry':
      return [line({ kind: 'data', type, deviceId, seq: numbered, content: contentOf(withoutStream(body)) })];
    case 'presence': {
      const status = textOf(body['status']);
      return [
        line({
          kind: 'presence',
          type: status,
          tone: status === 'stale' ? 'warn' : 'none',
          deviceId,
          content: `reason: ${textOf(body['reason'])}`,
        }),
      ];
    }
    case 'ack':
    case 'stored': {
      const upTo = body['upTo'] as number;
      const began = sent.reading(deviceId, upTo);
      return [
        line({
          kind: 'settled',
          type,
          tone: type === 'stored' ? 'ok' : 'none',
          deviceId,
          content: `up to seq ${upTo}${began === undefined ? '' : ` · ${after(at - began)} after sending`}`,
        }),
      ];
    }
    case 'dead':
      return [
        line({
          kind: 'settled',
          type,
          tone: 'warn',
          deviceId,
          seq: numbered,
          content: `seq ${numbered} · ${textOf(body['reason'])} ${textOf(body['message'])}`.trim(),
        }),
      ];
    case 'nack':
    case 'error':
      return [
        line({
          kind: type === 'nack' ? 'settled' : 'other',
          type,
          tone: body['retryable'] === true ? 'warn' : 'crit',
          deviceId,
          seq: numbered,
          content: `${textOf(body['code'])}: ${textOf(body['message'])}`,
        }),
      ];
    case 'control':
      return [
        line({
          kind: 'control',
          type,
          deviceId,
          content: `${textOf(body['command'])} ${jsonOf(body['args'])} · id ${textOf(body['id'])}`.replace('  ', ' '),
        }),
      ];
    case 'control-accepted':
      return [
        line({
          kind: 'control',
          type,
          deviceId,
          content: `accepted as ${textOf(body['commandId'])}, ${textOf(body['state'])}`,
        }),
      ];
    case 'command': {
      const state = textOf(body['state']);
      const began = sent.command(textOf(body['commandId']));
      return [
        line({
          kind: 'control',
          type: state,
          tone: state === 'succeeded' ? 'ok' : ['failed', 'timed-out', 'expired'].includes(state) ? 'warn' : 'none',
          deviceId,
          content: `${textOf(body['command'])} → ${state}${began === undefined ? '' : ` in ${after(at - began)}`}`,
        }),
      ];
    }
    case 'control-received':
    case 'control-result':
      return [line({ kind: 'control', type, deviceId, content: contentOf(body) })];
    case 'gap':
      return [
        line({
          type,
          tone: 'warn',
          content: `${textOf(body['reason'])}: ${plural(Number(body['envelopes'] ?? 0), 'envelope')} come later`,
        }),
      ];
    default:
      return [line({ type, deviceId, content: contentOf(body) })];
  }
}

function parsed(text: string): Body | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Body) : undefined;
  } catch {
    return undefined;
  }
}

const shownMetrics = 3;

/** `product.temperature −18.1 · speed 84 · +7` */
function metricsText(metrics: Body): string {
  const entries = Object.entries(metrics);
  const shown = entries.slice(0, shownMetrics).map(([name, value]) => {
    const text = typeof value === 'string' ? JSON.stringify(value) : metricValue(value);
    return `${name} ${text.length > 40 ? `${text.slice(0, 39)}…` : text}`;
  });
  return [...shown, ...(entries.length > shownMetrics ? [`+${entries.length - shownMetrics}`] : [])].join(' · ');
}

/** What the other columns say already, and the time, which is nearly that of the line. */
function withoutStream({ deviceId: _device, epoch: _epoch, ts: _ts, ...rest }: Body): Body {
  return rest;
}

/** A frame without its type, in one line. */
function contentOf({ type: _type, ...rest }: Body): string {
  const text = JSON.stringify(rest);
  return text === '{}' ? '' : text.slice(0, 300);
}

function jsonOf(value: unknown): string {
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

const after = (ms: number) => (ms < 1_000 ? `${Math.max(0, Math.round(ms))} ms` : duration(ms));
const textOf = (value: unknown) => (typeof value === 'string' ? value : '');
