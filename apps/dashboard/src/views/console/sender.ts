import { signal } from '@preact/signals';
import type { Direction } from './log-lines.ts';

/** What becomes of a reading that was sent by hand. Times are of this browser. */
export interface SentReading {
  readonly deviceId: string;
  readonly seq: number;
  readonly frame: string;
  readonly sentAt: number;
  readonly receivedAt?: number;
  readonly confirmedAt?: number;
  readonly storedAt?: number;
  /** It was refused, or became a dead letter. */
  readonly failure?: string;
}

type SocketState = 'closed' | 'connecting' | 'open';

type Metrics = Readonly<Record<string, unknown>>;
type Listener = (direction: Direction, text: string, at: number) => void;

/** Readings sent by hand that are kept until they are stored. */
const keptMax = 1_000;
const connectAgainMs = 1_000;

/**
 * A socket on which readings are sent as a gateway sends them: each frame names its device, so that the session of the device itself goes on.
 * It asks to hear when they are stored. After a break it sends again what is not confirmed, under the same numbers.
 */
export class Sender {
  readonly state = signal<SocketState>('closed');
  /** The newest reading, as far as it has come. */
  readonly last = signal<SentReading | undefined>(undefined);
  /** Numbers of a device begin at 0 in the epoch of this page. */
  readonly #epoch = `console-${randomHex()}`;
  readonly #onFrame: Listener;
  readonly #numbers = new Map<string, number>();
  #sent: SentReading[] = [];
  #socket: WebSocket | undefined;
  #waiting: string[] = [];
  #answers: number[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(onFrame: Listener) {
    this.#onFrame = onFrame;
  }

  nextSeq(deviceId: string): number {
    return this.#numbers.get(deviceId) ?? 0;
  }

  /** The frame that {@link send} sends next. */
  frameOf(deviceId: string, metrics: Metrics, ts: string): object {
    return { type: 'telemetry', deviceId, epoch: this.#epoch, seq: this.nextSeq(deviceId), ts, metrics };
  }

  send(deviceId: string, metrics: Metrics, ts: string): void {
    const seq = this.nextSeq(deviceId);
    const frame = JSON.stringify(this.frameOf(deviceId, metrics, ts));
    this.#numbers.set(deviceId, seq + 1);
    const reading: SentReading = { deviceId, seq, frame, sentAt: Date.now() };
    this.#sent = [...this.#sent, reading].slice(-keptMax);
    this.last.value = reading;
    if (this.state.peek() === 'open') this.#write(frame);
    else this.#connect();
  }

  /** Any text, as it is. */
  sendText(text: string): void {
    if (this.state.peek() === 'open') this.#write(text);
    else {
      this.#waiting.push(text);
      this.#connect();
    }
  }

  /** When the reading was sent; undefined where it is none of this page. */
  sentAt = (deviceId: string, seq: number): number | undefined =>
    this.#sent.find((one) => one.deviceId === deviceId && one.seq === seq)?.sentAt;

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #connect(): void {
    if (this.#socket !== undefined || this.#closed) return;
    this.state.value = 'connecting';
    const url = new URL(`/ws?acks=stored&epoch=${this.#epoch}`, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = new WebSocket(url, ['fleetwire.v1.json']);
    this.#socket = socket;
    socket.addEventListener('message', ({ data }: MessageEvent<string>) => this.#receive(data));
    socket.addEventListener('close', () => {
      this.#socket = undefined;
      this.#answers = [];
      this.state.value = 'closed';
      const isNeeded = this.#waiting.length > 0 || this.#sent.some(isOpen);
      if (isNeeded && !this.#closed) this.#timer = setTimeout(() => this.#connect(), connectAgainMs);
    });
  }

  #write(text: string): void {
    this.#socket!.send(text);
    this.#onFrame('sent', text, Date.now());
    // Frames of a socket are read in their order: the answer to this one says that those before it have arrived.
    this.#socket!.send('{"type":"ping"}');
    this.#answers.push(Date.now());
  }

  #receive(text: string): void {
    const at = Date.now();
    const message = JSON.parse(text) as Readonly<Record<string, unknown>> & { readonly type: string };
    if (message.type === 'pong') {
      const askedAt = this.#answers.shift();
      if (askedAt !== undefined)
        this.#settle((one) => one.receivedAt === undefined && one.sentAt <= askedAt, { receivedAt: at });
      return;
    }
    this.#onFrame('received', text, at);
    if (message.type === 'hello') {
      this.state.value = 'open';
      const texts = [...this.#sent.filter(isOpen).map(({ frame }) => frame), ...this.#waiting];
      this.#waiting = [];
      for (const one of texts) this.#write(one);
      return;
    }
    const { deviceId } = message;
    const isOf = (one: SentReading) => deviceId === undefined || one.deviceId === deviceId;
    const upTo = message['upTo'] as number;
    if (message.type === 'ack')
      this.#settle((one) => isOf(one) && one.seq <= upTo, { confirmedAt: at, receivedAt: at });
    else if (message.type === 'stored')
      this.#settle((one) => isOf(one) && one.seq <= upTo, { storedAt: at, confirmedAt: at, receivedAt: at });
    else if (message.type === 'nack' && message['retryable'] !== true) {
      const seq = message['seq'] as number;
      const end = seq + ((message['count'] as number | undefined) ?? 1);
      this.#settle((one) => isOf(one) && one.seq >= seq && one.seq < end, {
        failure: `refused: ${String(message['message'])}`,
      });
    } else if (message.type === 'nack')
      this.#timer = setTimeout(
        () => this.#sendAgain(),
        (message['retryAfterMs'] as number | undefined) ?? connectAgainMs,
      );
    else if (message.type === 'dead')
      this.#settle((one) => isOf(one) && one.seq === message['seq'], {
        failure: `dead letter: ${String(message['reason'])}`,
      });
  }

  #sendAgain(): void {
    if (this.state.peek() === 'open') for (const { frame } of this.#sent.filter(isOpen)) this.#write(frame);
  }

  /** What is known already stays. */
  #settle(which: (one: SentReading) => boolean, what: Partial<SentReading>): void {
    this.#sent = this.#sent.map((one) => (which(one) ? { ...what, ...one } : one));
    const { value } = this.last;
    this.last.value = this.#sent.find((one) => one.deviceId === value?.deviceId && one.seq === value.seq) ?? value;
  }
}

const isOpen = ({ confirmedAt, failure }: SentReading) => confirmedAt === undefined && failure === undefined;

/** Browsers have `crypto.randomUUID` only on pages that came over TLS or from this machine. */
function randomHex(): string {
  const [number = 0] = crypto.getRandomValues(new Uint32Array(1));
  return number.toString(16).padStart(8, '0');
}
