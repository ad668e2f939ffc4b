/** The `control` message of docs/device-protocol.md, "Commands". */
export interface ControlFrame {
  readonly id: string;
  readonly command: string;
  readonly args: unknown;
  readonly attempt: number;
  readonly expiresAt: string;
}

/** A `control` frame that reached the device. */
export interface Delivery extends ControlFrame {
  /** The connections of the device are numbered. */
  readonly connection: number;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** A `control-result` that the device has sent. */
export interface Answer {
  readonly id: string;
  readonly ok: boolean;
  readonly result?: unknown;
  readonly error?: unknown;
  /** Sent on purpose after a first answer, with other content. */
  readonly isSecond: boolean;
  readonly connection: number;
  /** Of `performance.now()`. */
  readonly sentAt: number;
  /** A reading that was sent on the same connection so much later was acknowledged: the broker has had time to confirm the answer too. */
  isKept: boolean;
}

/** An edge publishes an answer again when no confirm comes in 2.5 s, after at most 1 s. */
const keptAfterMs = 5_000;

/** Every command that reached one device, and what it answered. Like the journal of readings it shares no code with the product. */
export class CommandJournal {
  readonly deviceId: string;
  readonly deliveries: Delivery[] = [];
  readonly answers: Answer[] = [];
  /** Ids for which the device said `control-received`. */
  readonly confirmed = new Set<string>();

  constructor(deviceId: string) {
    this.deviceId = deviceId;
  }

  answered(answer: Omit<Answer, 'isKept' | 'sentAt'>): void {
    this.answers.push({ ...answer, sentAt: performance.now(), isKept: false });
  }

  /** @param sentAt when the newest of the readings was sent that are acknowledged on this connection */
  acknowledged(connection: number, sentAt: number): void {
    for (let index = this.answers.length - 1; index >= 0; index -= 1) {
      const answer = this.answers[index]!;
      if (answer.connection !== connection || answer.isKept) break;
      if (answer.sentAt + keptAfterMs <= sentAt) answer.isKept = true;
    }
  }
}
