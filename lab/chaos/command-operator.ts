import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../fleet/random.ts';
import { type DeviceCommand, deviceCommands } from './device-commands.ts';

type Mode = 'now' | 'when-online';

/** What the operator asked for, and what it was told. `args.key` is the key, so that a command is known also where the call had no answer. */
export interface SentCommand {
  /** The Idempotency-Key; each is used for one command. */
  readonly key: string;
  /** Undefined for a command to all devices. */
  readonly deviceId: string | undefined;
  readonly command: DeviceCommand;
  readonly mode: Mode;
  readonly timeoutMs: number;
  /** Undefined until there is an answer. */
  status?: number;
  /** Of the command or the job, also of a refused one that was recorded. */
  id?: string;
  /** Of a refusal. */
  code?: string;
  /** How a call that waited was answered once the command had ended. */
  told?: Pick<ShownCommand, 'state' | 'result' | 'error'>;
  cancelStatus?: number;
}

/** A command as query-api shows it (docs/openapi.json). Times are RFC 3339. */
export interface ShownCommand {
  readonly id: string;
  readonly deviceId: string;
  readonly command: string;
  readonly args: unknown;
  readonly mode: Mode;
  readonly state: string;
  readonly job: string | null;
  readonly timeoutMs: number;
  readonly expiresAt: string | null;
  readonly attempts: number;
  readonly createdAt: string;
  readonly deliveredAt: string | null;
  readonly finishedAt: string | null;
  readonly result: unknown;
  readonly error: { readonly code: string } | null;
  readonly lateResult: { readonly ok: boolean; readonly result?: unknown; readonly error?: unknown } | null;
}

export interface OperatorOptions {
  readonly baseUrl: string;
  /** Of several subjects: one may have a few calls in flight. */
  readonly tokens: readonly string[];
  readonly deviceIds: readonly string[];
  /** Commands per second. */
  readonly rate: number;
  readonly random: Random;
}

/** Shares of the commands. */
const shares = { now: 0.5, waits: 0.3, cancelled: 0.1, shortExpiry: 0.15 };
const timeoutMs = { min: 1_000, max: 4_000 };
const waitSeconds = 5;
/** Of the mode `when-online`, in seconds. */
const expiry = { short: 2, long: 30 };
const cancelWithinMs = 1_500;
/** One command to all devices is sent after this time, and then as often; each in the other mode. */
const everyDeviceIntervalMs = 12_000;
const everyDeviceRate = 20;
const requestTimeoutMs = 12_000;
const retryMs = 1_000;
/** Calls without an answer, beyond which no further command is sent: repeated all at the same time, they would keep query-api busy. */
const callsMax = 40;
const finishTimeoutMs = 60_000;
const pageMax = 500;

/** An operator who sends commands to random devices over the public API, repeats each call until it is answered, and cancels some. */
export class CommandOperator {
  readonly sent: SentCommand[] = [];
  /** Calls that were made again because there was no answer or a temporary refusal, and those of them that waited for the end of the command. */
  readonly repeated = { calls: 0, waits: 0 };
  readonly #options: OperatorOptions;
  readonly #stopping = new AbortController();
  readonly #giveUp = new AbortController();
  readonly #calls = new Set<Promise<void>>();
  readonly #running: Promise<void>;

  constructor(options: OperatorOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Sends no further commands, and waits until the calls are answered; the audit names those that are not. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const timer = setTimeout(() => this.#giveUp.abort(), finishTimeoutMs);
    await this.#running;
    await Promise.all(this.#calls);
    clearTimeout(timer);
  }

  /** Every command of these devices, as query-api shows it. */
  async shown(): Promise<ShownCommand[]> {
    const commands: ShownCommand[] = [];
    for (const deviceId of this.#options.deviceIds)
      for (let next: string | null | undefined; next !== null;) {
        const cursor = next === undefined ? '' : `&cursor=${encodeURIComponent(next)}`;
        const { body } = await this.#request('GET', `/devices/${deviceId}/commands?limit=${pageMax}${cursor}`);
        commands.push(...(body.data as readonly ShownCommand[]));
        next = (body.page as { readonly next: string | null }).next;
      }
    return commands;
  }

  /** How many commands of a job are in each state. */
  async jobStates(id: string): Promise<Readonly<Record<string, number>>> {
    return (await this.#request('GET', `/commands/${id}`)).body.states as Record<string, number>;
  }

  async #run(): Promise<void> {
    const { rate } = this.#options;
    const { signal } = this.#stopping;
    const startedAt = performance.now();
    let toAll = 0;
    for (let number = 0; !signal.aborted;) {
      const elapsedMs = performance.now() - startedAt;
      for (; number < (elapsedMs / 1_000) * rate; number += 1)
        if (this.#calls.size < callsMax) this.#start(this.#toOne(number));
      for (; toAll < Math.floor(elapsedMs / everyDeviceIntervalMs); toAll += 1) this.#start(this.#toAll(toAll));
      await sleep(20, undefined, { signal }).catch(() => {});
    }
  }

  #start(call: Promise<void>): void {
    this.#calls.add(call);
    void call.finally(() => this.#calls.delete(call));
  }

  async #toOne(number: number): Promise<void> {
    const { random, deviceIds } = this.#options;
    const deviceId = deviceIds[Math.floor(random() * deviceIds.length)]!;
    const mode: Mode = random() < shares.now ? 'now' : 'when-online';
    const command = this.#noteNew({ key: `one-${number}`, deviceId, mode });
    const expires = random() < shares.shortExpiry ? expiry.short : expiry.long;
    const [waits, isCancelled, cancelAfterMs] = [
      random() < shares.waits,
      random() < shares.cancelled,
      random() * cancelWithinMs,
    ];
    await this.#send(command, `/devices/${deviceId}/commands`, bodyOf(command, expires), waits);
    if (!isCancelled || command.id === undefined || command.status !== 202) return;
    await sleep(cancelAfterMs);
    // Once: the answer to a repeated call would be about the first one.
    const answer = await this.#request('POST', `/commands/${command.id}/cancel`, {}).catch(() => undefined);
    if (answer !== undefined) command.cancelStatus = answer.status;
  }

  async #toAll(number: number): Promise<void> {
    const command = this.#noteNew({
      key: `all-${number}`,
      deviceId: undefined,
      mode: number % 2 === 0 ? 'when-online' : 'now',
    });
    const target = { target: { pattern: 'chaos-*' }, ratePerSecond: everyDeviceRate, confirm: true };
    await this.#send(command, '/commands', { ...bodyOf(command, expiry.long), ...target }, false);
  }

  #noteNew(command: Pick<SentCommand, 'key' | 'deviceId' | 'mode'>): SentCommand {
    const { random } = this.#options;
    const noted: SentCommand = {
      ...command,
      command: deviceCommands[Math.floor(random() * deviceCommands.length)]!,
      timeoutMs: Math.round(timeoutMs.min + random() * (timeoutMs.max - timeoutMs.min)),
    };
    this.sent.push(noted);
    return noted;
  }

  /** Until there is an answer: the key makes one command of all calls. */
  async #send(command: SentCommand, path: string, body: object, waits: boolean): Promise<void> {
    const { tokens } = this.#options;
    const headers = {
      // The key is that of a subject.
      authorization: `Bearer ${tokens[this.sent.indexOf(command) % tokens.length]}`,
      'idempotency-key': command.key,
      ...(waits && { prefer: `wait=${waitSeconds}` }),
    };
    while (!this.#giveUp.signal.aborted) {
      const answer = await this.#request('POST', path, body, headers).catch(() => undefined);
      if (answer !== undefined && !isLater(answer.status)) return noteAnswer(command, answer);
      this.repeated.calls += 1;
      if (waits) this.repeated.waits += 1;
      await sleep(retryMs);
    }
  }

  async #request(method: 'GET' | 'POST', path: string, body?: object, headers: Record<string, string> = {}) {
    const { baseUrl, tokens } = this.#options;
    const response = await fetch(`${baseUrl}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${tokens[0]}`, 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(requestTimeoutMs),
    });
    const text = await response.text();
    const parsed = JSON.parse(text) as Readonly<Record<string, unknown>>;
    if (method === 'GET' && !response.ok) throw new Error(`${path} was answered with ${response.status}: ${text}`);
    return { status: response.status, body: parsed };
  }
}

function bodyOf({ key, command, mode, timeoutMs: ms }: SentCommand, expiresInSeconds: number): object {
  const expiresAt = mode === 'now' ? {} : { expiresAt: `now+${expiresInSeconds}s` };
  return { command, args: { key }, mode, timeoutMs: ms, ...expiresAt };
}

/** A limit of query-api, or its circuit breaker: the same call may succeed later. */
function isLater(status: number): boolean {
  return status === 429 || status >= 500;
}

function noteAnswer(
  command: SentCommand,
  { status, body }: { readonly status: number; readonly body: Readonly<Record<string, unknown>> },
): void {
  command.status = status;
  // A refused command that is recorded is named by its place.
  const place = body['id'] ?? body['command'];
  if (typeof place === 'string') command.id = place.split('/').at(-1)!;
  if (typeof body['code'] === 'string') command.code = body['code'];
  if (status === 200) command.told = body as unknown as ShownCommand;
}
