import { once } from 'node:events';
import fc from 'fast-check';
import WebSocket from 'ws';
import type { FreshNumbers, Promises } from './promises.ts';
import { SocketJournal } from './socket-journal.ts';
import { type Finding, type Subject, shown } from './subject.ts';
import type { Tally } from './tally.ts';
import { type Message, frames } from './telemetry-inputs.ts';

export interface SocketSubjectOptions {
  readonly name: 'devices' | 'gateways';
  /** `ws://127.0.0.1:8080/ws` */
  readonly url: string;
  readonly deviceId: string;
  readonly token: string;
  readonly tally: Tally;
  readonly promises: Promises;
  readonly numbers: FreshNumbers;
  readonly hangMs: number;
}

interface SocketInput {
  readonly frames: readonly { readonly message: Message; readonly isBinary: boolean }[];
}

interface Answer {
  readonly type: string;
  readonly upTo: number;
  readonly seq: number;
  readonly count: number;
  readonly code?: string;
  readonly retryable?: boolean;
  readonly deviceId?: string;
  readonly epoch?: string;
}

/** Frames of one input, one after the other on a socket that is reused while the server keeps it open. */
export function socketSubject(options: SocketSubjectOptions): Subject<SocketInput> {
  const { name, promises, numbers } = options;
  const devices = name === 'devices' ? [options.deviceId] : [options.deviceId, 'fuzz-behind-gateway'];
  const frame = fc.record({
    message: frames(devices, name === 'gateways'),
    isBinary: fc.integer({ min: 1, max: 50 }).map((drawn) => drawn === 50),
  });
  let session: Session | undefined;
  return {
    name,
    inputs: fc.record({ frames: fc.array(frame, { minLength: 1, maxLength: 24, size: 'medium' }) }),
    close: () => session?.close(),
    run: async ({ frames: wanted }) => {
      if (session === undefined || !session.isOpen) {
        try {
          session = await Session.open(options);
        } catch (error) {
          const what = `${name}: a valid upgrade was refused: ${String(error)}`;
          return { sent: 1, finding: { signature: what, what, input: `GET ${options.url}` } };
        }
      }
      const texts: string[] = [];
      for (const { message, isBinary } of wanted) {
        const bytes = message(numbers.take());
        texts.push(`${isBinary ? '(binary) ' : ''}${shown(bytes)}`);
        session.send(bytes, isBinary);
      }
      const what = await session.settle();
      for (const { deviceId, epoch, seq } of session.journal.takeAcked()) promises.add(deviceId, epoch, seq);
      if (what === undefined && session.mustReopen) session.close();
      if (what === undefined) return { sent: wanted.length };
      session.close();
      const finding: Finding = {
        signature: `${name} ${what.kind}`,
        what: `${name}: ${what.text}`,
        input: texts.join('\n'),
      };
      return { sent: wanted.length, finding };
    },
  };
}

const normalClosure = 1_000;
/** Codes that a server without a defect never sends to a client that reads its answers: cut without a close frame, internal error. */
const badCloseCodes = [1006, 1011];

const barrierEpoch = 'barrier';

/** A bad reading in a stream of its own. Frames are read in order, so its nack says that all frames before it were read. */
function barrier(seq: number): string {
  return JSON.stringify({ type: 'telemetry', epoch: barrierEpoch, seq, ts: 0, metrics: {} });
}

/** One open socket. */
class Session {
  readonly journal: SocketJournal;
  /** After a retryable nack `upTo` stays below the nacked reading; a new socket forgets it (rule 3 of the protocol). */
  mustReopen = false;
  readonly #socket: WebSocket;
  readonly #options: SocketSubjectOptions;
  #barriersSent = 0;
  #barriersAnswered = 0;
  #closeCode: number | undefined;
  #changed = Promise.withResolvers<void>();

  private constructor(socket: WebSocket, epoch: string, options: SocketSubjectOptions) {
    this.#socket = socket;
    this.#options = options;
    this.journal = new SocketJournal({ deviceId: options.deviceId, epoch });
    socket.on('message', (data: Buffer) => this.#receive(JSON.parse(data.toString('utf8')) as Answer));
    socket.on('error', () => {});
    socket.on('close', (code) => {
      this.#closeCode = code;
      options.tally.add(`socket ${options.name}`, `closed ${code}`);
      this.#wake();
    });
  }

  static async open(options: SocketSubjectOptions): Promise<Session> {
    const epoch = `${options.deviceId}-boot`;
    const socket = new WebSocket(`${options.url}?epoch=${epoch}`, 'fleetwire.v1.json', {
      headers: { authorization: `Bearer ${options.token}` },
      skipUTF8Validation: true,
      handshakeTimeout: options.hangMs,
    });
    const session = new Session(socket, epoch, options);
    await once(socket, 'open');
    return session;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  send(bytes: Buffer, isBinary: boolean): void {
    if (!this.isOpen) return;
    if (!isBinary) this.journal.sent(bytes.toString('utf8'));
    this.#socket.send(bytes, { binary: isBinary });
  }

  /** Waits until the server has read every frame and answered every reading; or says what is wrong. */
  async settle(): Promise<{ readonly kind: string; readonly text: string } | undefined> {
    if (this.isOpen) this.#socket.send(barrier(this.#barriersSent));
    this.#barriersSent += 1;
    const isRead = await this.#until(() => this.#barriersAnswered === this.#barriersSent);
    // An ack may have come before the server read a frame that it seems to cover; only after the barrier it speaks of all frames.
    if (!isRead) this.journal.takeAcked();
    if (this.#closeCode === undefined && !isRead)
      return { kind: 'hang', text: `no answer to a frame within ${this.#options.hangMs} ms` };
    const isAnswered = await this.#until(() => this.mustReopen || this.journal.unanswered.length === 0);
    if (this.#closeCode !== undefined)
      return badCloseCodes.includes(this.#closeCode)
        ? { kind: `closed ${this.#closeCode}`, text: `the socket was closed with ${this.#closeCode}` }
        : undefined;
    if (isAnswered) return undefined;
    const [first] = this.journal.unanswered;
    const text = `${this.journal.unanswered.length} readings were neither acknowledged nor nacked within ${this.#options.hangMs} ms, the first ${JSON.stringify(first)}`;
    return { kind: 'unanswered', text };
  }

  close(): void {
    this.#socket.close(normalClosure);
  }

  #receive({ type, upTo, seq, count, code, retryable, ...name }: Answer): void {
    if (type === 'nack' && name.epoch === barrierEpoch) {
      this.#barriersAnswered = seq + 1;
      return this.#wake();
    }
    if (type === 'ack') this.journal.acked(upTo, name);
    if (type === 'nack') this.journal.nacked(seq, count, name);
    if (type === 'nack' && retryable === true) this.mustReopen = true;
    this.#options.tally.add(`socket ${this.#options.name}`, code === undefined ? type : `${type} ${code}`);
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** False when the socket was closed or the time is up. */
  async #until(condition: () => boolean): Promise<boolean> {
    const timeout = new AbortController();
    const timer = setTimeout(() => {
      timeout.abort();
      this.#wake();
    }, this.#options.hangMs);
    while (!condition() && !timeout.signal.aborted && this.#closeCode === undefined) await this.#changed.promise;
    clearTimeout(timer);
    return condition();
  }
}
