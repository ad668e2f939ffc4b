import { type Problem, tooManyRequests, unavailable } from '@fleetwire/runtime/problem';
import type { IngestConfiguration } from './configuration.ts';
import type { IngestMetrics } from './metrics.ts';

const retryAfterMs = 5_000;

export interface ConnectionLimitsOptions {
  readonly config: Pick<
    IngestConfiguration,
    'authMode' | 'connectionsMax' | 'connectionsPerSubjectMax' | 'connectionsPerAddressMax'
  >;
  readonly metrics: IngestMetrics;
}

/** How many sockets may be open: of this instance, of one address, and of one subject. A socket counts until its TCP connection has ended. */
export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions;
  readonly #bySubject = new Map<string, number>();
  readonly #byAddress = new Map<string, number>();
  #open = 0;

  constructor(options: ConnectionLimitsOptions) {
    this.#options = options;
  }

  /**
   * @param subject undefined before the token is verified
   * @returns why one more socket is refused
   */
  refusal(address: string, subject?: string): Problem | undefined {
    const { config, metrics } = this.#options;
    const { authMode, connectionsMax, connectionsPerAddressMax, connectionsPerSubjectMax } = config;
    if (this.#open >= connectionsMax) {
      metrics.limitsReached.inc({ limit: 'connectionsMax' });
      return unavailable(`This instance has ${connectionsMax} sockets open, its limit (connectionsMax)`, retryAfterMs);
    }
    if ((this.#byAddress.get(address) ?? 0) >= connectionsPerAddressMax) {
      metrics.limitsReached.inc({ limit: 'connectionsPerAddressMax' });
      const text = `Your address has ${connectionsPerAddressMax} sockets open, its limit (connectionsPerAddressMax); close some of them`;
      return tooManyRequests(text, retryAfterMs);
    }
    // Without tokens all callers are one subject.
    if (authMode === 'open' || subject === undefined) return undefined;
    if ((this.#bySubject.get(subject) ?? 0) >= connectionsPerSubjectMax) {
      metrics.limitsReached.inc({ limit: 'connectionsPerSubjectMax' });
      const text = `"${subject}" has ${connectionsPerSubjectMax} sockets open, its limit (connectionsPerSubjectMax); close some of them, or send many devices on one socket: a gateway names the deviceId in each frame`;
      return tooManyRequests(text, retryAfterMs);
    }
    return undefined;
  }

  /** Counts a socket. @returns a function to call when it has ended */
  add(address: string, subject: string): () => void {
    this.#open += 1;
    count(this.#byAddress, address, 1);
    count(this.#bySubject, subject, 1);
    return () => {
      this.#open -= 1;
      count(this.#byAddress, address, -1);
      count(this.#bySubject, subject, -1);
    };
  }
}

function count(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const next = (counts.get(key) ?? 0) + change;
  if (next === 0) counts.delete(key);
  else counts.set(key, next);
}
