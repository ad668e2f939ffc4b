import type { ProblemDocument } from '@fleetwire/runtime/problem';
import type { CommandErrorCode, ControlRequest } from '@fleetwire/contracts/command-frames';

type ControlAnswer =
  | {
      readonly type: 'control-accepted';
      readonly commandId: string;
      readonly state?: string;
      readonly targets?: number;
    }
  | ControlRefusal;

export interface ControlRefusal {
  readonly type: 'error';
  readonly code: CommandErrorCode | 'forbidden' | 'overloaded';
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
}

/** Who sends: query-api checks the token, and a repeated frame is known by its key. */
interface ControlCaller {
  readonly token: string | undefined;
  readonly idempotencyKey: string | undefined;
}

export type SendControl = (request: ControlRequest, caller: ControlCaller) => Promise<ControlAnswer>;

const answerTimeoutMs = 10_000;
const unavailableRetryMs = 1_000;

/** Sends commands of clients to query-api, which stores them and answers when it has. */
export function createControlClient(queryApiUrl: string, stopping: AbortSignal): SendControl {
  return async (request, { token, idempotencyKey }) => {
    const isRepeatable = idempotencyKey !== undefined;
    try {
      const { path, body: sent } = callOf(request);
      const response = await fetch(new URL(path, queryApiUrl), {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(isRepeatable ? { 'idempotency-key': idempotencyKey } : {}),
        },
        body: JSON.stringify(sent),
        signal: AbortSignal.any([stopping, AbortSignal.timeout(answerTimeoutMs)]),
      });
      const body = (await response.json()) as Record<string, unknown>;
      return response.ok ? acceptedOf(body) : refusalOf(response, body);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `query-api did not answer (${reason}); the command may have been sent${isRepeatable ? '' : ': GET /api/v1/devices/{id}/commands shows it'}`;
      return unavailable(message, isRepeatable);
    }
  };
}

function callOf({ target, command, args, timeoutMs, mode, expiresAt, ratePerSecond, confirm }: ControlRequest) {
  const body = { command, args, timeoutMs, mode, expiresAt };
  if (!/[*?]/.test(target)) return { path: `/api/v1/devices/${encodeURIComponent(target)}/commands`, body };
  const many = { target: target === '*' ? target : { pattern: target }, ratePerSecond, confirm };
  return { path: '/api/v1/commands', body: { ...body, ...many } };
}

export function unavailable(message: string, retryable: boolean): ControlRefusal {
  return {
    type: 'error',
    code: 'unavailable',
    message,
    retryable,
    ...(retryable ? { retryAfterMs: unavailableRetryMs } : {}),
  };
}

function acceptedOf({ id, state, targets }: Record<string, unknown>): ControlAnswer {
  return {
    type: 'control-accepted',
    commandId: String(id),
    ...(typeof state === 'string' ? { state } : {}),
    ...(typeof targets === 'number' ? { targets } : {}),
  };
}

function refusalOf({ status, headers }: Response, body: Record<string, unknown>): ControlRefusal {
  const { detail, title, code, errors = [] } = body as Partial<ProblemDocument> & { code?: unknown };
  const message = [detail ?? title, ...errors.map((error) => `${error.field} ${error.detail}`)].join('; ');
  if (status >= 500) return unavailable(message, true);
  if (status === 429) {
    const retryAfterMs = Number(headers.get('retry-after') ?? 1) * 1_000;
    return { type: 'error', code: 'overloaded', message, retryable: true, retryAfterMs };
  }
  return { type: 'error', code: codeOf(status, code), message, retryable: false };
}

function codeOf(status: number, code: unknown): ControlRefusal['code'] {
  if (status === 401 || status === 403) return 'forbidden';
  if (status === 404) return 'device-unknown';
  if (status === 409) return code === 'device-offline' ? code : 'command-conflict';
  return 'command-refused';
}
